//! Workloads out of files. The format is described in `docs/simulator.md`.

use super::{Event, EventKind};
use crate::simulate::policy::{Media, Mode, PeerKey, RoomSpec};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

/// The first line of every file.
pub const HEADER: &str = "at_s,room,peer,event,role,audio,video";
/// How many lines a file may have.
const MOST_LINES: usize = 20_000_000;
/// How long a line may be, in bytes.
const LONGEST_LINE: u64 = 4096;
/// The latest time, in seconds: about 30 years.
const LATEST: f64 = 1e9;

/// Why a file is no workload.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// It cannot be read.
    #[error("{file}: {source}")]
    Unreadable {
        /// Its name.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A line does not parse, or says what cannot be.
    #[error("{file}:{line}: {column}: {problem}")]
    Line {
        /// The file's name.
        file: String,
        /// Which line, from 1.
        line: usize,
        /// Which column, by its name; `header` or `line` where it is none.
        column: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// There is nothing in it but its header.
    #[error("{file}: no events after the header")]
    Empty {
        /// Its name.
        file: String,
    },
}

/// Reads a file's events.
///
/// # Errors
/// When it cannot be read, or a line is wrong; the error names the line.
pub fn read(path: &Path) -> Result<Vec<Event>, CsvError> {
    let file = path.display().to_string();
    match File::open(path) {
        Ok(open) => parse(&file, BufReader::new(open)),
        Err(source) => Err(CsvError::Unreadable { file, source }),
    }
}

/// Reads events out of text. `file` is what errors call it.
///
/// # Errors
/// As [`read`].
pub fn parse(file: &str, mut text: impl BufRead) -> Result<Vec<Event>, CsvError> {
    let mut reader = Reader::default();
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let mut limited = (&mut text).take(LONGEST_LINE + 1);
        let read = limited.read_until(b'\n', &mut bytes);
        let read = read.map_err(|source| CsvError::Unreadable { file: file.to_owned(), source })?;
        if read == 0 {
            if line == 1 {
                return Err(wrong("header", format!("is missing: it is `{HEADER}`")).at(file, 1));
            }
            break;
        }
        reader.line(line, &bytes).map_err(|wrong| wrong.at(file, line))?;
    }
    if reader.events.is_empty() {
        return Err(CsvError::Empty { file: file.to_owned() });
    }
    Ok(reader.finish())
}

/// What is wrong in a line.
struct Wrong {
    column: &'static str,
    problem: String,
}

impl Wrong {
    fn at(self, file: &str, line: usize) -> CsvError {
        CsvError::Line { file: file.to_owned(), line, column: self.column, problem: self.problem }
    }
}

fn wrong(column: &'static str, problem: impl Into<String>) -> Wrong {
    Wrong { column, problem: problem.into() }
}

/// What is known of a room.
struct Room {
    id: u32,
    peers: HashMap<String, u32>,
    present: u32,
    most: u32,
    listeners: bool,
}

#[derive(Default)]
struct Reader {
    rooms: HashMap<String, Room>,
    present: HashMap<PeerKey, Media>,
    events: Vec<Event>,
    last: Duration,
}

impl Reader {
    fn line(&mut self, number: usize, bytes: &[u8]) -> Result<(), Wrong> {
        if bytes.len() as u64 > LONGEST_LINE {
            return Err(wrong("line", format!("is longer than {LONGEST_LINE} bytes")));
        }
        if number > MOST_LINES {
            return Err(wrong("line", format!("there are more than {MOST_LINES}")));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("line", "is not UTF-8"))?.trim();
        if number == 1 {
            // Some programs begin a file with a byte order mark.
            let text = text.trim_start_matches('\u{feff}');
            let same = text.split(',').map(str::trim).eq(HEADER.split(','));
            return if same { Ok(()) } else { Err(wrong("header", format!("is not `{HEADER}`"))) };
        }
        if text.is_empty() || text.starts_with('#') {
            return Ok(());
        }
        let fields: Vec<_> = text.split(',').map(str::trim).collect();
        let [at, room, peer, event, role, audio, video] = fields[..] else {
            return Err(wrong("line", format!("has {} fields instead of 7", fields.len())));
        };
        let at = self.time(at)?;
        let (room_name, key) = self.key(room, peer)?;
        let before = self.present.get(&key).copied();
        if before.is_none() && event != "join" && EVENTS.contains(&event) {
            return Err(wrong("event", format!("`{event}`, but peer `{peer}` is not in room `{room}`")));
        }
        let was = before.unwrap_or_default();
        let kind = match event {
            "join" if before.is_some() => {
                return Err(wrong("event", format!("`join`, but peer `{peer}` is in room `{room}` already")));
            }
            "join" => {
                let publishes = publishes(role)?;
                let media = Media { publishes, audio: flag("audio", audio)?, video: flag("video", video)? };
                self.enter(&room_name, publishes);
                // Known when the file has been read.
                EventKind::Join { room: RoomSpec { mode: Mode::Conference, size: 0 }, media }
            }
            "leave" => {
                if let Some(room) = self.rooms.get_mut(&room_name) {
                    room.present -= 1;
                }
                EventKind::Leave
            }
            "mute" | "unmute" => {
                let (audio, video) = (flag("audio", audio)?, flag("video", video)?);
                if !audio && !video {
                    return Err(wrong("audio", format!("neither audio nor video is 1: nothing to {event}")));
                }
                let on = event == "unmute";
                EventKind::Change(Media {
                    audio: if audio { on } else { was.audio },
                    video: if video { on } else { was.video },
                    ..was
                })
            }
            "promote" => {
                let (audio, video) = (flag("audio", audio)?, flag("video", video)?);
                EventKind::Change(Media { publishes: true, audio, video })
            }
            "demote" => EventKind::Change(Media::NOTHING),
            _ => return Err(wrong("event", format!("`{event}` is none of {}", EVENTS.join(", ")))),
        };
        match kind {
            EventKind::Join { media, .. } | EventKind::Change(media) => self.present.insert(key, media),
            EventKind::Leave => self.present.remove(&key),
        };
        self.events.push(Event { at, peer: key, kind });
        Ok(())
    }

    fn time(&mut self, text: &str) -> Result<Duration, Wrong> {
        let seconds: f64 = text.parse().map_err(|_| wrong("at_s", format!("`{text}` is no number")))?;
        if !(0.0..=LATEST).contains(&seconds) {
            return Err(wrong("at_s", format!("`{text}` is not within 0 and {LATEST:.0} seconds")));
        }
        let at = Duration::from_secs_f64(seconds);
        if at < self.last {
            let last = self.last.as_secs_f64();
            return Err(wrong("at_s", format!("{seconds} is before {last}, the time of the line before")));
        }
        self.last = at;
        Ok(at)
    }

    fn key(&mut self, room: &str, peer: &str) -> Result<(String, PeerKey), Wrong> {
        for (column, name) in [("room", room), ("peer", peer)] {
            if name.is_empty() {
                return Err(wrong(column, "is empty"));
            }
        }
        let rooms = self.rooms.len() as u32;
        let name = room.to_owned();
        let new = || Room { id: rooms, peers: HashMap::new(), present: 0, most: 0, listeners: false };
        let room = self.rooms.entry(name.clone()).or_insert_with(new);
        let peers = room.peers.len() as u32;
        let peer = *room.peers.entry(peer.to_owned()).or_insert(peers);
        Ok((name, PeerKey { room: room.id, peer }))
    }

    fn enter(&mut self, room: &str, publishes: bool) {
        if let Some(room) = self.rooms.get_mut(room) {
            room.present += 1;
            room.most = room.most.max(room.present);
            room.listeners |= !publishes;
        }
    }

    /// The events, with what each room turned out to be.
    fn finish(mut self) -> Vec<Event> {
        let specs: HashMap<u32, RoomSpec> = self.rooms.values().map(|room| (room.id, room.spec())).collect();
        for event in &mut self.events {
            if let EventKind::Join { room, .. } = &mut event.kind
                && let Some(spec) = specs.get(&event.peer.room)
            {
                *room = *spec;
            }
        }
        self.events
    }
}

impl Room {
    fn spec(&self) -> RoomSpec {
        let mode = match self.most {
            _ if self.listeners => Mode::Stage,
            2 => Mode::OneToOne,
            _ => Mode::Conference,
        };
        RoomSpec { mode, size: self.most }
    }
}

const EVENTS: &[&str] = &["join", "leave", "mute", "unmute", "promote", "demote"];

fn publishes(role: &str) -> Result<bool, Wrong> {
    match role {
        "publish" => Ok(true),
        "listen" => Ok(false),
        _ => Err(wrong("role", format!("`{role}` is neither publish nor listen"))),
    }
}

fn flag(column: &'static str, text: &str) -> Result<bool, Wrong> {
    match text {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(wrong(column, format!("`{text}` is none of 0, 1, true, false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_lines(lines: &[&str]) -> Result<Vec<Event>, String> {
        parse("file.csv", lines.join("\n").as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn events_are_read() {
        let events = parse_lines(&[
            HEADER,
            "0,lobby,ann,join,publish,1,1",
            "",
            "# the audience",
            "0.5, lobby, bob, join, listen, 0, 0",
            "1,lobby,ann,mute,publish,0,1",
            "2,lobby,bob,promote,publish,true,false",
            "3,lobby,bob,demote,,,",
            "3,lobby,bob,leave,,,",
            "4,lobby,cy,join,publish,1,0",
        ])
        .expect("parses");
        assert_eq!(events.len(), 7);
        let room = RoomSpec { mode: Mode::Stage, size: 2 };
        assert_eq!(events[0].kind, EventKind::Join { room, media: Media::BOTH });
        assert_eq!(events[2].kind, EventKind::Change(Media { video: false, ..Media::BOTH }));
        assert_eq!(events[3].kind, EventKind::Change(Media { video: false, ..Media::BOTH }));
        assert_eq!((events[4].kind, events[5].kind), (EventKind::Change(Media::NOTHING), EventKind::Leave));
        assert_eq!(events[6].peer, PeerKey { room: 0, peer: 2 });
    }

    #[test]
    fn what_is_wrong_is_told_with_line_and_column() {
        let cases = [
            ("x,r,p,join,publish,1,1", "at_s: `x` is no number"),
            ("-1,r,p,join,publish,1,1", "at_s: `-1` is not within 0 and 1000000000 seconds"),
            ("NaN,r,p,join,publish,1,1", "at_s: `NaN` is not within 0 and 1000000000 seconds"),
            ("4,r,p,join,publish,1,1", "at_s: 4 is before 5, the time of the line before"),
            ("5,,p,join,publish,1,1", "room: is empty"),
            ("5,r,,join,publish,1,1", "peer: is empty"),
            (
                "5,r,p,dance,publish,1,1",
                "event: `dance` is none of join, leave, mute, unmute, promote, demote",
            ),
            ("5,r,p,join,boss,1,1", "role: `boss` is neither publish nor listen"),
            ("5,r,p,join,publish,yes,1", "audio: `yes` is none of 0, 1, true, false"),
            ("5,r,p,join,publish,1,", "video: `` is none of 0, 1, true, false"),
            ("5,r,p,leave,,,", "event: `leave`, but peer `p` is not in room `r`"),
            ("5,room,ann,join,publish,1,1", "event: `join`, but peer `ann` is in room `room` already"),
            ("5,room,ann,mute,,0,0", "audio: neither audio nor video is 1: nothing to mute"),
            ("5,r,p,join,publish,1", "line: has 6 fields instead of 7"),
        ];
        for (line, problem) in cases {
            let lines = [HEADER, "5,room,ann,join,publish,1,1", line];
            assert_eq!(parse_lines(&lines), Err(format!("file.csv:3: {problem}")));
        }
    }

    #[test]
    fn a_file_begins_with_its_header() {
        let missing = format!("file.csv:1: header: is missing: it is `{HEADER}`");
        assert_eq!(parse_lines(&[]), Err(missing));
        let other = format!("file.csv:1: header: is not `{HEADER}`");
        assert_eq!(parse_lines(&["0,r,p,join,publish,1,1"]), Err(other));
        assert_eq!(parse_lines(&[HEADER]), Err("file.csv: no events after the header".to_owned()));
        let error = read(Path::new("/nowhere/file.csv")).expect_err("is not there").to_string();
        assert!(error.starts_with("/nowhere/file.csv: "), "{error}");
    }
}
