//! What a room is like: how many it holds and who may send.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use ts_rs::TS;

/// Who may send in a room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
pub enum RoomMode {
    /// Everyone.
    #[default]
    Conference,
    /// Some, and many listen; who does not say otherwise listens.
    Stage,
    /// Two peers.
    OneToOne,
}

impl fmt::Display for RoomMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Conference => "conference",
            Self::Stage => "stage",
            Self::OneToOne => "one-to-one",
        })
    }
}

impl FromStr for RoomMode {
    type Err = RoomError;
    fn from_str(text: &str) -> Result<Self, RoomError> {
        match text {
            "conference" => Ok(Self::Conference),
            "stage" => Ok(Self::Stage),
            "one-to-one" => Ok(Self::OneToOne),
            _ => Err(RoomError(format!("mode: {text:?} is none of conference, stage and one-to-one"))),
        }
    }
}

/// What is wrong with a room's options; names the option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RoomError(String);

/// What a room is like, from its first peer to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct RoomOptions {
    /// Who may send.
    pub mode: RoomMode,
    /// How many peers it holds at most.
    pub size: u32,
    /// Whether capacity for all of them is reserved from the start.
    pub guaranteed: bool,
    /// Of how many peers, those who spoke last, video is forwarded; of all where it is 0.
    pub last_n: u32,
}

/// What somebody who joins says of the room: what it should be like if it is new. What is not said is the mesh's
/// default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomWish {
    /// Who may send.
    pub mode: Option<RoomMode>,
    /// How many peers it holds at most.
    pub size: Option<u32>,
    /// Whether capacity for all of them is reserved from the start.
    pub guaranteed: Option<bool>,
    /// Of how many peers video is forwarded.
    pub last_n: Option<u32>,
}

impl RoomWish {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What a new room is like.
    ///
    /// # Errors
    /// When the options contradict each other, or the size is 0 or above `max_size`; names the option.
    pub fn options(&self, default: &RoomOptions, max_size: u32) -> Result<RoomOptions, RoomError> {
        let mode = self.mode.unwrap_or(default.mode);
        let size = match (mode, self.size) {
            (RoomMode::OneToOne, None | Some(2)) => 2,
            (RoomMode::OneToOne, Some(size)) => {
                return Err(RoomError(format!("size: is {size}, and mode one-to-one holds 2")));
            }
            (_, size) => size.unwrap_or(default.size),
        };
        if size == 0 {
            return Err(RoomError("size: is 0; a room holds someone".to_owned()));
        }
        if size > max_size {
            return Err(RoomError(format!(
                "size: is {size}, and a room of this mesh holds {max_size} at most"
            )));
        }
        let last_n = self.last_n.unwrap_or(default.last_n);
        if mode == RoomMode::OneToOne && self.last_n.is_some_and(|n| n > 0) {
            return Err(RoomError(format!("lastN: is {last_n}, and mode one-to-one forwards both")));
        }
        Ok(RoomOptions { mode, size, guaranteed: self.guaranteed.unwrap_or(default.guaranteed), last_n })
    }

    /// Whether a room that is like this is what was wished for.
    ///
    /// # Errors
    /// Names the first option that is another.
    pub fn check(&self, is: &RoomOptions) -> Result<(), RoomError> {
        let other = |name: &str, wished: &dyn fmt::Display, is: &dyn fmt::Display| {
            Err(RoomError(format!("{name}: is {is} in this room, not {wished}")))
        };
        match self {
            Self { mode: Some(mode), .. } if *mode != is.mode => other("mode", mode, &is.mode),
            Self { size: Some(size), .. } if *size != is.size => other("size", size, &is.size),
            Self { guaranteed: Some(wished), .. } if *wished != is.guaranteed => {
                other("guaranteed", wished, &is.guaranteed)
            }
            Self { last_n: Some(last_n), .. } if *last_n != is.last_n => other("lastN", last_n, &is.last_n),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: RoomOptions =
        RoomOptions { mode: RoomMode::Conference, size: 500, guaranteed: false, last_n: 0 };

    fn wish(mode: Option<RoomMode>, size: Option<u32>) -> RoomWish {
        RoomWish { mode, size, ..RoomWish::default() }
    }

    fn refused(wish: RoomWish) -> String {
        wish.options(&DEFAULT, 1000).expect_err("is refused").to_string()
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        assert_eq!(RoomWish::default().options(&DEFAULT, 1000), Ok(DEFAULT));
        let stage = wish(Some(RoomMode::Stage), Some(7)).options(&DEFAULT, 1000).expect("is good");
        assert_eq!((stage.mode, stage.size), (RoomMode::Stage, 7));
        assert_eq!(wish(Some(RoomMode::OneToOne), None).options(&DEFAULT, 1000).expect("is good").size, 2);
    }

    #[test]
    fn contradictions_are_named() {
        assert!(refused(wish(None, Some(0))).starts_with("size: is 0"));
        assert!(refused(wish(None, Some(1001))).contains("1000 at most"));
        assert!(refused(wish(Some(RoomMode::OneToOne), Some(3))).contains("one-to-one holds 2"));
        let both = RoomWish { last_n: Some(3), ..wish(Some(RoomMode::OneToOne), None) };
        assert!(refused(both).starts_with("lastN"));
        assert!("auditorium".parse::<RoomMode>().is_err());
    }

    #[test]
    fn a_room_stays_what_it_is() {
        assert_eq!(RoomWish::default().check(&DEFAULT), Ok(()));
        assert_eq!(wish(Some(RoomMode::Conference), Some(500)).check(&DEFAULT), Ok(()));
        let error = wish(Some(RoomMode::Stage), None).check(&DEFAULT).expect_err("is another");
        assert_eq!(error.to_string(), "mode: is conference in this room, not stage");
    }
}
