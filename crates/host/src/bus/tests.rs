use std::{os::unix::fs::PermissionsExt as _, path::PathBuf};

use rumpnet_wire::{
    bus::{MAX_FRAME, MAX_RECORD, RING, RING_AT, Record},
    virtio,
};

use super::*;

/// A path of our own, removed with what is there.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("rumpnet-bus-{name}-{}", std::process::id()));
        let _old = std::fs::remove_file(&path);
        Self(path)
    }

    fn member(&self) -> BusFile {
        BusFile::open(&self.0, Access::Member).expect("a bus")
    }

    fn refusal(&self) -> Option<i32> {
        BusFile::open(&self.0, Access::Member).map(drop).expect_err("no bus").raw_os_error()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

fn send(bus: &BusFile, frame: &[u8]) {
    while let Err(error) = bus.send(&virtio::Header::default(), &[frame]) {
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}

fn heard(reader: &mut Reader, bus: &BusFile) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; MAX_RECORD];
    let mut frames = Vec::new();
    loop {
        let batch = reader.read(bus, &mut buffer).expect("a bus");
        let bytes = batch.bytes();
        let before = frames.len();
        frames.extend(batch.map(|(_, frame)| bytes[frame].to_vec()));
        if frames.len() == before {
            return frames;
        }
    }
}

#[test]
fn what_one_member_sends_all_others_and_later_readers_hear() {
    let place = Place::new("heard");
    let (one, two) = (place.member(), place.member());
    let mut reader = two.reader(false);
    let header = virtio::Header { gso_size: 7, gso_type: virtio::GsoType::Tcp4, ..virtio::Header::default() };
    one.send(&header, &[b"hello", b", ", b"world"]).expect("room");
    send(&two, b"and you");
    let mut buffer = vec![0; MAX_RECORD];
    let batch = reader.read(&two, &mut buffer).expect("a bus");
    let bytes = batch.bytes();
    let records: Vec<_> = batch.map(|(record, frame)| (record, &bytes[frame])).collect();
    assert_eq!(
        records.iter().map(|(_, frame)| *frame).collect::<Vec<_>>(),
        [&b"hello, world"[..], b"and you"]
    );
    assert_eq!(records[0].0.offload, header.to_bytes());
    assert_eq!([records[0].0.sender, records[1].0.sender], [one.sender(), two.sender()]);
    assert!(records[0].0.time_ns <= records[1].0.time_ns);
    drop((one, two));
    let later = BusFile::open(&place.0, Access::Reader).expect("it is kept");
    let times = |mut reader: Reader, buffer: &mut [u8]| {
        reader.read(&later, buffer).expect("a bus").map(|(record, _)| record.time_ns).collect::<Vec<_>>()
    };
    let stable = records.iter().map(|(record, _)| record.time_ns).collect::<Vec<_>>();
    let mut buffer = vec![0; MAX_RECORD];
    assert_eq!(times(later.reader(true), &mut buffer), stable);
}

#[test]
fn at_least_the_last_mebibyte_of_frames_is_kept_in_order() {
    for len in [60, 1514, MAX_FRAME] {
        let place = Place::new(&format!("kept-{len}"));
        let bus = place.member();
        let count = 3 * RING as usize / len;
        for number in 0..count {
            let mut frame = vec![0; len];
            frame[..8].copy_from_slice(&(number as u64).to_le_bytes());
            send(&bus, &frame);
        }
        let frames = heard(&mut bus.reader(true), &bus);
        assert!(frames.len() * len >= 1024 * 1024, "{} of {len}", frames.len());
        for (frame, number) in frames.iter().rev().zip((0..count as u64).rev()) {
            assert_eq!(frame[..8], number.to_le_bytes());
        }
    }
}

#[test]
fn a_reader_who_is_overtaken_counts_what_it_has_missed() {
    let place = Place::new("overrun");
    let bus = place.member();
    let mut reader = bus.reader(false);
    send(&bus, &[0; 60]);
    assert_eq!(heard(&mut reader, &bus).len(), 1);
    let count = 2 * RING / 1514;
    (0..count).for_each(|_| send(&bus, &[7; 1514]));
    let read = heard(&mut reader, &bus).len() as u64;
    assert!(read < count);
    assert_eq!((read + reader.overruns(), reader.spoilt()), (count, 0));
}

#[test]
fn a_frame_that_is_too_long_is_refused() {
    let place = Place::new("long");
    let bus = place.member();
    let refused = bus.send(&virtio::Header::default(), &[&vec![0; MAX_FRAME + 1]]).expect_err("too long");
    assert_eq!(refused.raw_os_error(), Some(libc::EMSGSIZE));
    send(&bus, &vec![0; MAX_FRAME]);
}

#[test]
fn a_bus_is_its_owners_alone_until_he_says_otherwise() {
    let place = Place::new("mode");
    let bus = place.member();
    assert_eq!(bus.file.metadata().expect("open").permissions().mode() & 0o777, 0o600);
}

#[test]
fn what_is_no_bus_is_refused_and_left_alone() {
    let place = Place::new("foreign");
    std::fs::write(&place.0, b"a letter").expect("writable");
    assert_eq!(place.refusal(), Some(libc::ENOEXEC));
    assert_eq!(std::fs::read(&place.0).expect("there"), b"a letter");
    std::fs::write(&place.0, vec![0; 5000]).expect("writable");
    assert_eq!(place.refusal(), Some(libc::ENOEXEC));
    let directory = BusFile::open(&std::env::temp_dir(), Access::Member).map(drop).expect_err("a directory");
    assert_eq!(directory.raw_os_error(), Some(libc::ENOEXEC));
    let null = BusFile::open(Path::new("/dev/null"), Access::Member).map(drop).expect_err("a device");
    assert_eq!(null.raw_os_error(), Some(libc::ENOEXEC));
    let absent =
        BusFile::open(Path::new("/nowhere/bus"), Access::Member).map(drop).expect_err("no directory");
    assert_eq!(absent.raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn a_file_whose_maker_died_over_it_is_completed() {
    let whole = Place::new("whole");
    drop(whole.member());
    let bytes = std::fs::read(&whole.0).expect("there");
    for len in [0, 64, 64 + State::LEN] {
        let place = Place::new(&format!("half-{len}"));
        let mut half = bytes[..len].to_vec();
        half.iter_mut().take(16).for_each(|byte| *byte = 0);
        std::fs::write(&place.0, half).expect("writable");
        let bus = place.member();
        let mut reader = bus.reader(false);
        send(&bus, b"hello");
        assert_eq!(heard(&mut reader, &bus), [b"hello"]);
        assert_eq!(bus.file.metadata().expect("open").len(), FILE_LEN);
    }
}

#[test]
fn a_writer_who_died_before_its_record_was_whole_leaves_nothing() {
    let place = Place::new("died");
    let (dead, bus) = (place.member(), place.member());
    let mut reader = bus.reader(false);
    send(&bus, b"before");
    // It had reserved room, and written half of its record.
    let state = reader::state(&bus).expect("a state");
    let record = Record { position: state.tail, count: state.count, len: 100, ..Record::default() };
    dead.file.write_all_at(&record.to_bytes(), RING_AT + state.tail % RING).expect("writable");
    let held = lock::try_take(&dead.file).expect("a lock").expect("free");
    std::mem::forget(held);
    assert_eq!(
        bus.send(&virtio::Header::default(), &[b"x"]).expect_err("held").kind(),
        io::ErrorKind::WouldBlock
    );
    assert!(!bus.is_free());
    drop(dead);
    assert!(bus.is_free());
    send(&bus, b"after");
    assert_eq!(heard(&mut reader, &bus), [&b"before"[..], b"after"]);
}

#[test]
fn a_file_that_is_cut_off_or_overwritten_kills_nobody_and_works_again() {
    let place = Place::new("cut");
    let (one, two) = (place.member(), place.member());
    let mut reader = two.reader(false);
    let mut buffer = vec![0; MAX_RECORD];
    for len in [0, 10, 64, 100, 4096, 5000] {
        (0..50).for_each(|_| send(&one, &[1; 1000]));
        one.file.set_len(len).expect("writable");
        let _nonsense = reader.read(&two, &mut buffer).map(Iterator::count);
        two.wait(two.news(), Some(Duration::ZERO));
        send(&one, b"first");
        let frames = heard(&mut reader, &two);
        assert!(frames.len() <= 51);
        send(&one, b"second");
        assert_eq!(heard(&mut reader, &two), [b"second"], "after it was cut to {len}");
    }
    one.file.write_all_at(&[0xa5; 4096], 0).expect("writable");
    assert_eq!(reader.read(&two, &mut buffer).map(drop), Err(Fault::Spoilt));
    send(&one, b"first");
    heard(&mut reader, &two);
    send(&one, b"second");
    assert_eq!(heard(&mut reader, &two), [b"second"]);
    one.file.write_all_at(&[0xa5; 4096], RING_AT).expect("writable");
    let spoilt = two.reader(true);
    assert!(heard(&mut { spoilt }, &two).len() <= 60);
}

#[test]
fn a_wait_ends_with_news_of_others_and_not_with_our_own() {
    let place = Place::new("news");
    let (one, two) = (place.member(), place.member());
    let seen = two.news();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            while two.news() == seen {
                two.wait(seen, None);
            }
        });
        send(&one, b"hello");
        waiter.join().expect("it was woken");
    });
    assert_ne!((one.place, two.place), (None, None));
    assert_ne!(one.place, two.place);
}

#[test]
fn more_members_than_places_are_all_told() {
    let place = Place::new("crowd");
    let members: Vec<BusFile> = (0..40).map(|_| place.member()).collect();
    assert_eq!(members.iter().filter(|member| member.place.is_none()).count(), 9);
    std::thread::scope(|scope| {
        let seen = members[0].news();
        let waiters: Vec<_> = members[1..]
            .iter()
            .map(|member| {
                scope.spawn(move || {
                    while member.news() == seen {
                        member.wait(seen, None);
                    }
                })
            })
            .collect();
        // Without a place one wakes oneself as well.
        send(&members[39], b"hello");
        waiters.into_iter().for_each(|waiter| waiter.join().expect("it was woken"));
    });
}

#[test]
fn members_who_send_at_the_same_time_lose_nothing_of_each_other() {
    let place = Place::new("together");
    let bus = place.member();
    let mut reader = bus.reader(false);
    std::thread::scope(|scope| {
        for writer in 0..4u8 {
            let member = place.member();
            scope.spawn(move || (0..200u8).for_each(|number| send(&member, &[writer, number])));
        }
    });
    let frames = heard(&mut reader, &bus);
    for writer in 0..4u8 {
        let numbers: Vec<u8> =
            frames.iter().filter(|frame| frame[0] == writer).map(|frame| frame[1]).collect();
        assert_eq!(numbers, (0..200).collect::<Vec<u8>>(), "in the order in which they were sent");
    }
}

#[test]
fn a_frame_of_ones_own_is_passed_only_when_it_is_the_next() {
    let place = Place::new("own");
    let (one, two) = (place.member(), place.member());
    let mut reader = one.reader(false);
    let own = one.send(&virtio::Header::default(), &[b"mine"]).expect("free");
    reader.pass(&own);
    send(&two, b"yours");
    let own = one.send(&virtio::Header::default(), &[b"mine"]).expect("free");
    reader.pass(&own);
    assert_eq!(heard(&mut reader, &one), [&b"yours"[..], b"mine"]);
}

#[test]
fn a_turn_is_there_whole_when_it_is_finished_and_otherwise_not_at_all() {
    let place = Place::new("turn");
    let (one, two) = (place.member(), place.member());
    let mut reader = two.reader(false);
    let mut abandoned = one.begin().expect("free");
    (0..100).for_each(|_| abandoned.push(None, &virtio::Header::default(), &[&[1; 1000]]).expect("room"));
    assert!(two.begin().is_err(), "one at a time");
    drop(abandoned);
    let mut turn = two.begin().expect("free again");
    let mut count = 0;
    while !turn.is_long() {
        turn.push(Some(7), &virtio::Header::default(), &[&[2; 3000]]).expect("room");
        count += 1;
    }
    assert_eq!(heard(&mut reader, &one), Vec::<Vec<u8>>::new());
    turn.finish().expect("room");
    assert_eq!(heard(&mut reader, &one), vec![vec![2; 3000]; count]);
    let mut later = one.reader(true);
    assert_eq!((heard(&mut later, &one).len(), later.spoilt()), (count, 0));
}
