//! A picture of a topology, as SVG: buses are bars, hosts on several buses are rails across them, the others hang below their bus.
//!
//! Nothing is placed by chance or by force: the order of the file is that of the picture, nothing lies on anything else, and the same topology is
//! always the same picture, however many hosts it has.

use std::fmt::Write;

use rumpnet_proto::topology::{Bus, Host, Interface, Topology};

/// Everything in pixels.
const MARGIN: usize = 20;
const HEAD: usize = 50;
const BOX: (usize, usize) = (126, 38);
const GAP: usize = 12;
/// From rail to rail.
const RAIL: usize = BOX.0 + GAP;
/// From a bar to the boxes below it.
const DROP: usize = 18;
/// Room above a bar for what is written there.
const LABEL: usize = 26;
/// Hosts side by side below a bar.
const COLUMNS: usize = 8;

const STYLE: &str = "text{font:12px sans-serif;fill:#1a1a1a}.small{font-size:10px;fill:#444}.title{font-size:16px;font-weight:bold}\
.bus{stroke:#2b6cb0;stroke-width:4}.link{stroke:#718096;stroke-width:1.5}.dot{fill:#2b6cb0}.host{fill:#edf2f7;stroke:#718096}\
.router{fill:#fefcbf;stroke:#b7791f}";

/// A host and its interface on the bus that it hangs below.
type Hanging<'a> = (&'a Host, Option<&'a Interface>);

/// What is placed where.
struct Picture<'a> {
    topology: &'a Topology,
    /// Hosts on several buses.
    rails: Vec<&'a Host>,
    /// By bus: the others.
    below: Vec<Vec<Hanging<'a>>>,
    /// Hosts on no bus at all.
    alone: Vec<Hanging<'a>>,
    /// The left edge of what hangs below buses.
    left: usize,
    width: usize,
    body: String,
}

/// Draws a topology as an SVG document.
pub fn draw(topology: &Topology) -> String {
    let mut picture = Picture::new(topology);
    let height = picture.draw_all();
    let Picture { width, body, .. } = picture;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n\
         <style>{STYLE}</style>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n{body}</svg>\n"
    )
}

impl<'a> Picture<'a> {
    fn new(topology: &'a Topology) -> Self {
        let (mut rails, mut below, mut alone) =
            (Vec::new(), vec![Vec::new(); topology.buses.len()], Vec::new());
        for host in &topology.hosts {
            match host.interfaces.as_slice() {
                [] => alone.push((host, None)),
                [first, rest @ ..] if rest.iter().all(|other| other.bus == first.bus) => {
                    below[first.bus].push((host, Some(first)));
                }
                _ => rails.push(host),
            }
        }
        let widest = below.iter().map(Vec::len).chain([alone.len(), 2]).max().unwrap_or(2).min(COLUMNS);
        let left = MARGIN + rails.len() * RAIL;
        let width = left + widest * (BOX.0 + GAP) - GAP + MARGIN;
        Self { topology, rails, below, alone, left, width, body: String::new() }
    }

    /// Draws from the top to the bottom; returns the height.
    fn draw_all(&mut self) -> usize {
        let Topology { name, hosts, buses, .. } = self.topology;
        let title = format!("{name}: {} hosts on {} buses", hosts.len(), buses.len());
        self.text((MARGIN, MARGIN + 12), "title", &title);
        let rails_top = HEAD;
        let mut y = HEAD + if self.rails.is_empty() { 0 } else { BOX.1 };
        let mut bars = Vec::new();
        for place in 0..buses.len() {
            y += LABEL;
            bars.push(y);
            y += self.height_below(self.below[place].len());
        }
        self.draw_rails(rails_top, &bars);
        for (bus, bar) in self.topology.buses.iter().zip(&bars) {
            self.draw_bar(bus, *bar);
        }
        for (place, bar) in bars.iter().enumerate() {
            let hanging = core::mem::take(&mut self.below[place]);
            self.draw_hosts(&hanging, *bar, true);
        }
        let alone = core::mem::take(&mut self.alone);
        if !alone.is_empty() {
            y += LABEL;
            self.text((self.left, y - 6), "", "on no bus");
            self.draw_hosts(&alone, y - DROP, false);
            y += self.height_below(alone.len()) - DROP;
        }
        y + MARGIN
    }

    /// The height of so many hosts below a bar.
    const fn height_below(&self, hosts: usize) -> usize {
        DROP + hosts.div_ceil(COLUMNS) * (BOX.1 + GAP)
    }

    fn draw_bar(&mut self, bus: &Bus, y: usize) {
        let (from, to) = (MARGIN, self.width - MARGIN);
        let _infallible =
            writeln!(self.body, "<line class=\"bus\" x1=\"{from}\" y1=\"{y}\" x2=\"{to}\" y2=\"{y}\"/>");
        let prefix = bus.prefix.map_or_else(String::new, |prefix| format!("  {prefix}"));
        self.text((self.left, y - 6), "", &format!("{}{prefix}", bus.name));
    }

    /// Each host on several buses: its box at the top, and a line down to the last of its buses, with a dot and an address on each.
    fn draw_rails(&mut self, top: usize, bars: &[usize]) {
        let mut dots = String::new();
        for (number, host) in self.rails.clone().into_iter().enumerate() {
            let corner = (MARGIN + number * RAIL, top);
            let x = corner.0 + 12;
            let lowest = host.interfaces.iter().map(|interface| bars[interface.bus]).max().unwrap_or(top);
            self.line((x, top + BOX.1), (x, lowest));
            let rows: Vec<_> = host.interfaces.iter().map(|interface| interface.name.as_str()).collect();
            self.draw_box(corner, host, &rows.join(" "));
            for (place, bar) in bars.iter().enumerate() {
                let on_it: Vec<_> = host
                    .interfaces
                    .iter()
                    .filter(|interface| interface.bus == place)
                    .map(addresses)
                    .collect();
                if !on_it.is_empty() {
                    let _infallible =
                        writeln!(dots, "<circle class=\"dot\" cx=\"{x}\" cy=\"{bar}\" r=\"5\"/>");
                    self.text((x + 8, bar - 6), "small", &on_it.join(" "));
                }
            }
        }
        // What stands on a bar is drawn over it, and bars are drawn over rails that pass.
        self.body += &dots;
    }

    fn draw_hosts(&mut self, hosts: &[Hanging<'_>], bar: usize, linked: bool) {
        for (number, (host, interface)) in hosts.iter().enumerate() {
            let (row, column) = (number / COLUMNS, number % COLUMNS);
            let corner = (self.left + column * (BOX.0 + GAP), bar + DROP + row * (BOX.1 + GAP));
            if linked {
                // From the bar or from the box above.
                let from = if row == 0 { bar } else { corner.1 - GAP };
                self.line((corner.0 + BOX.0 / 2, from), (corner.0 + BOX.0 / 2, corner.1));
            }
            self.draw_box(corner, host, &interface.map(addresses).unwrap_or_default());
        }
    }

    fn draw_box(&mut self, (x, y): (usize, usize), host: &Host, below: &str) {
        let class = if super::route::is_router(host) { "router" } else { "host" };
        let (width, height) = BOX;
        let _infallible = writeln!(
            self.body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"4\"/>"
        );
        self.text((x + 6, y + 15), "", &cut(&host.name, 17));
        self.text((x + 6, y + 30), "small", &cut(below, 22));
    }

    fn line(&mut self, (x1, y1): (usize, usize), (x2, y2): (usize, usize)) {
        let _infallible =
            writeln!(self.body, "<line class=\"link\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>");
    }

    fn text(&mut self, (x, y): (usize, usize), class: &str, text: &str) {
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        let _infallible = writeln!(self.body, "<text{class} x=\"{x}\" y=\"{y}\">{text}</text>");
    }
}

fn addresses(interface: &Interface) -> String {
    let addresses: Vec<_> = interface.addresses.iter().map(ToString::to_string).collect();
    if addresses.is_empty() { interface.name.to_string() } else { addresses.join(" ") }
}

/// As much of a text as fits into a box.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::parse;

    /// A lab of so many hosts on each of so many buses, joined by routers.
    fn lab(buses: usize, hosts: usize) -> Topology {
        let text = format!(
            "bus.lan = {{ count = {buses}, prefix = \"10.1.0.0/24\" }}\nbus.core.prefix = \"10.255.0.0/16\"\n\
             host.router = {{ count = {buses}, forwarding = true, bus0 = {{ bus = \"lan\" }}, bus1 = {{ bus = \"core\" }} }}\n\
             host.pc = {{ count = {}, bus0 = {{ bus = \"lan\" }} }}\nhost.hermit = {{}}\n",
            buses * hosts
        );
        parse("lab.toml", &text).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// The values of an attribute in a line.
    fn number(line: &str, name: &str) -> usize {
        let (_, behind) = line.split_once(&format!(" {name}=\"")).unwrap_or_else(|| panic!("{name}: {line}"));
        behind.split('"').next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Left, top, right and bottom of each box of a host.
    fn boxes(svg: &str) -> Vec<[usize; 4]> {
        let rects = svg.lines().filter(|line| line.starts_with("<rect class"));
        let corners = |line: &str| {
            let (x, y) = (number(line, "x"), number(line, "y"));
            [x, y, x + number(line, "width"), y + number(line, "height")]
        };
        rects.map(corners).collect()
    }

    #[test]
    fn every_host_bus_and_address_is_in_the_picture() {
        let svg = draw(&lab(2, 3));
        for text in [
            "router2",
            "pc6",
            "hermit",
            "lan2  10.1.1.0/24",
            ">10.1.1.4/24<",
            ">10.255.0.2/16<",
            "9 hosts on 3 buses",
        ] {
            assert!(svg.contains(text), "{text}: {svg}");
        }
        assert_eq!(boxes(&svg).len(), 9);
        assert_eq!(svg.matches("class=\"router\"").count(), 2);
    }

    #[test]
    fn nothing_lies_on_anything_else_or_outside_with_ten_and_with_hundreds_of_hosts() {
        for (buses, hosts) in [(1, 9), (10, 10), (3, 100)] {
            let svg = draw(&lab(buses, hosts));
            let boxes = boxes(&svg);
            assert_eq!(boxes.len(), buses * hosts + buses + 1);
            let (width, height) = (number(&svg, "width"), number(&svg, "height"));
            assert!(boxes.iter().all(|[_, _, right, bottom]| *right <= width && *bottom <= height));
            let apart = |one: &[usize; 4], other: &[usize; 4]| {
                one[2] <= other[0] || other[2] <= one[0] || one[3] <= other[1] || other[3] <= one[1]
            };
            for (number, one) in boxes.iter().enumerate() {
                assert!(boxes[..number].iter().all(|other| apart(one, other)), "{one:?}");
            }
            let bars = svg
                .lines()
                .filter(|line| line.starts_with("<line class=\"bus\""))
                .map(|line| number(line, "y1"));
            for bar in bars {
                assert!(
                    boxes.iter().all(|[_, top, _, bottom]| bar < *top || *bottom < bar),
                    "a bar crosses a box"
                );
            }
        }
    }

    #[test]
    fn the_same_topology_is_the_same_picture_and_its_tags_are_closed() {
        let svg = draw(&lab(4, 4));
        assert_eq!(svg, draw(&lab(4, 4)));
        let opened = svg.matches('<').count() - svg.matches("</").count() - svg.matches("/>").count();
        assert_eq!(opened, svg.matches("</").count());
        let odd = Topology { name: "<&>".to_owned(), ..Topology::default() };
        assert!(draw(&odd).contains("&lt;&amp;>: 0 hosts"));
    }
}
