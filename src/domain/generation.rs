//! The order of a device's assignments: epoch, then generation.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $raw:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name($inner);

        impl $name {
            /// The first one.
            pub const FIRST: Self = Self(<$inner>::MIN);

            /// The counter's value, if it is not zero.
            pub fn new(value: $raw) -> Option<Self> {
                <$inner>::new(value).map(Self)
            }

            /// The counter's value, never zero.
            pub fn value(self) -> $raw {
                self.0.get()
            }

            /// The next one. Stays at the largest number rather than wrapping round.
            pub fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

counter!(
    /// How many times the controller has changed what one device must run.
    ///
    /// Starts at 1 and only grows: going back to old content is a new generation.
    Generation,
    NonZeroU64,
    u64
);

counter!(
    /// The outer counter of assignments. 1 until an operator raises it.
    Epoch,
    NonZeroU64,
    u64
);

counter!(
    /// How often a digest was offered to a device. A failed digest is tried again only at a higher attempt.
    Attempt,
    NonZeroU32,
    u32
);

/// The place of an assignment in the order of a device's assignments: epoch first, then generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Order {
    /// The epoch.
    pub epoch: Epoch,
    /// The generation inside the epoch.
    pub generation: Generation,
}

impl Order {
    /// The first assignment that a device can have.
    pub const FIRST: Self = Self { epoch: Epoch::FIRST, generation: Generation::FIRST };

    /// The next generation of the same epoch.
    pub fn next(self) -> Self {
        Self { epoch: self.epoch, generation: self.generation.next() }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.generation)
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
