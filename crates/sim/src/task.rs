//! User code: async tasks on an executor of the world's own, and waiting in virtual time.
//!
//! Tasks run one at a time, in the order in which they were woken. There is no runtime and no thread; a future of any kind will
//! do, as long as what it waits for is in the world.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::{Rc, Weak},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use rumpnet_stack::time::Instant;

use crate::shared::{Shared, since_start};

/// All tasks of a world.
pub(crate) struct Tasks {
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: Arc<Mutex<VecDeque<u64>>>,
    next: Cell<u64>,
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    alarm: Arc<Alarm>,
    /// Where it runs, as a panic tells it.
    place: Rc<str>,
}

/// Puts a task into the ready list, once until it has run.
struct Alarm {
    task: u64,
    ready: Arc<Mutex<VecDeque<u64>>>,
    is_ready: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            lock(&self.ready).push_back(self.task);
        }
    }
}

fn lock(ready: &Mutex<VecDeque<u64>>) -> std::sync::MutexGuard<'_, VecDeque<u64>> {
    ready.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { tasks: RefCell::new(BTreeMap::new()), ready: Arc::default(), next: Cell::new(0) }
    }

    /// Starts a task; it runs first when the world does.
    pub(crate) fn spawn<T: 'static>(
        &self,
        place: Rc<str>,
        future: impl Future<Output = T> + 'static,
    ) -> JoinHandle<T> {
        let task = self.next.replace(self.next.get() + 1);
        let outcome = Rc::new(RefCell::new(Outcome { value: None, finished: false, waiting: Vec::new() }));
        let handle = JoinHandle { outcome: Rc::clone(&outcome) };
        let future = async move {
            let value = future.await;
            let waiting = {
                let mut outcome = outcome.borrow_mut();
                (outcome.value, outcome.finished) = (Some(value), true);
                core::mem::take(&mut outcome.waiting)
            };
            waiting.into_iter().for_each(Waker::wake);
        };
        let alarm =
            Arc::new(Alarm { task, ready: Arc::clone(&self.ready), is_ready: AtomicBool::new(false) });
        alarm.wake_by_ref();
        self.tasks.borrow_mut().insert(task, Task { future: Box::pin(future), alarm, place });
        handle
    }

    /// Whether any task can go on.
    pub(crate) fn is_any_ready(&self) -> bool {
        !lock(&self.ready).is_empty()
    }

    /// Runs the next task that can go on; false if all wait.
    pub(crate) fn run_next(&self, shared: &Rc<Shared>) -> bool {
        let Some(number) = lock(&self.ready).pop_front() else { return false };
        // The task is taken out, so that it may start others; one that has ended may still be woken.
        let Some(mut task) = self.tasks.borrow_mut().remove(&number) else { return true };
        task.alarm.is_ready.store(false, Ordering::Relaxed);
        if !run(shared, &mut task) {
            self.tasks.borrow_mut().insert(number, task);
        }
        true
    }

    /// Drops all tasks, which hold handles of the world that holds them.
    pub(crate) fn clear(&self) {
        let tasks = core::mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
    }
}

/// Lets a task go on; true if it is finished.
fn run(shared: &Rc<Shared>, task: &mut Task) -> bool {
    let _inside = Inside::enter(shared, &task.place);
    let waker = Waker::from(Arc::clone(&task.alarm));
    task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready()
}

thread_local! {
    /// The world whose task is running on this thread.
    static CURRENT: RefCell<Weak<Shared>> = const { RefCell::new(Weak::new()) };
}

/// While a task runs; tells where and when, should it panic.
struct Inside<'a> {
    shared: &'a Rc<Shared>,
    place: &'a str,
    outer: Weak<Shared>,
}

impl<'a> Inside<'a> {
    fn enter(shared: &'a Rc<Shared>, place: &'a str) -> Self {
        let outer = CURRENT.replace(Rc::downgrade(shared));
        Self { shared, place, outer }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        CURRENT.replace(core::mem::take(&mut self.outer));
        if std::thread::panicking() {
            eprintln!("a task on {} panicked at {} of virtual time", self.place, self.shared.now());
        }
    }
}

/// The world around the running task.
///
/// # Panics
///
/// Outside of tasks.
fn current() -> Rc<Shared> {
    CURRENT.with_borrow(Weak::upgrade).expect("only tasks of a world can wait in its time")
}

/// Whether a task is running on this thread.
pub(crate) fn is_inside() -> bool {
    CURRENT.with_borrow(|shared| shared.strong_count() > 0)
}

/// The virtual time, since the world began.
///
/// # Panics
///
/// Outside of tasks.
pub fn now() -> Duration {
    since_start(current().now())
}

/// Waits in virtual time.
///
/// # Panics
///
/// Outside of tasks.
pub fn sleep(span: Duration) -> Sleep {
    let shared = current();
    let until = shared.now() + span.into();
    Sleep { shared, until, alarm: None }
}

/// A wait in virtual time.
#[must_use = "nobody waits until this is awaited"]
pub struct Sleep {
    shared: Rc<Shared>,
    until: Instant,
    alarm: Option<u64>,
}

impl Sleep {
    /// A wait in a world until a time.
    pub(crate) const fn until(shared: Rc<Shared>, until: Instant) -> Self {
        Self { shared, until, alarm: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared.now() >= self.until {
            return Poll::Ready(());
        }
        let (until, alarm) = (self.until, self.alarm);
        let alarm = self.shared.with(|core| match alarm {
            Some(alarm) => {
                core.renew_alarm(alarm, cx.waker());
                alarm
            }
            None => core.set_alarm(until, cx.waker()),
        });
        self.alarm = Some(alarm);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(alarm) = self.alarm {
            self.shared.clear_alarm(alarm);
        }
    }
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl core::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the time was up")
    }
}

impl core::error::Error for Elapsed {}

impl From<Elapsed> for std::io::Error {
    fn from(elapsed: Elapsed) -> Self {
        Self::new(std::io::ErrorKind::TimedOut, elapsed)
    }
}

/// Waits for a future, but no longer than `span` of virtual time.
///
/// # Panics
///
/// Outside of tasks.
pub async fn timeout<F: Future>(span: Duration, future: F) -> Result<F::Output, Elapsed> {
    let (mut future, mut sleep) = (pin!(future), sleep(span));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Ok(value)),
        Poll::Pending => Pin::new(&mut sleep).poll(cx).map(|()| Err(Elapsed)),
    })
    .await
}

/// What a task will have come to. Dropping it lets the task run on.
#[must_use = "a task runs on without its handle; drop it to say so"]
pub struct JoinHandle<T> {
    outcome: Rc<RefCell<Outcome<T>>>,
}

struct Outcome<T> {
    value: Option<T>,
    finished: bool,
    waiting: Vec<Waker>,
}

impl<T> JoinHandle<T> {
    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.outcome.borrow().finished
    }

    /// What the task came to, if it has ended and this was not asked before.
    pub fn take(&self) -> Option<T> {
        self.outcome.borrow_mut().value.take()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    /// # Panics
    ///
    /// If the outcome was taken before.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut outcome = self.outcome.borrow_mut();
        if let Some(value) = outcome.value.take() {
            return Poll::Ready(value);
        }
        assert!(!outcome.finished, "a task has one outcome, and it was taken");
        if !outcome.waiting.iter().any(|known| known.will_wake(cx.waker())) {
            outcome.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}
