//! `bellwether approve`: a person's yes to a held commit, or to a device that asks to join.

use super::console::{Console, Outcome};
use super::fault::usage;
use super::remote::refusal;
use crate::domain::digest::Digest;
use crate::domain::ids::DeviceId;
use crate::protocol::v1::operator::{ApproveRequest, Done};

/// The shortest beginning of a digest that the controller takes.
const MIN_DIGITS: usize = 8;

/// Flags of `approve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is held, and its digest, is in `bellwether status`. A digest that no longer fits, because the changes differ, is refused.

Examples:
  bellwether approve 3f9a1c20be77    a held commit, by its digest or at least eight digits of it
  bellwether approve kiosk-9         a pending device")]
pub struct Args {
    /// Digest of held changes, or a pending device
    #[arg(value_name = "DIGEST|DEVICE")]
    pub what: String,
}

/// Runs `approve`.
pub fn run(args: &Args, console: &Console) -> anyhow::Result<Outcome> {
    let output = console.act_output()?;
    let Args { what } = args;
    let controller = console.global.controller()?;
    let device = DeviceId::new(what);
    if let Some(digest) = digest_of(what) {
        let request = ApproveRequest { digest };
        match controller.post::<Done>("/v1/approvals", &request, &format!("approve {what}")) {
            Ok(done) => return console.done(&done, output),
            // Names of devices can look like digests.
            Err(error) if refusal(&error) == Some("nothing-held") && device.is_ok() => {
                let path = format!("/v1/devices/{what}/approve");
                return match controller.post::<Done>(&path, &(), &format!("approve device {what}")) {
                    Ok(done) => console.done(&done, output),
                    Err(_) => Err(error),
                };
            }
            Err(error) => return Err(error),
        }
    }
    let device = device.map_err(|error| usage(format!("{error}; nor is it a digest")))?;
    let done: Done =
        controller.post(&format!("/v1/devices/{device}/approve"), &(), &format!("approve device {device}"))?;
    console.done(&done, output)
}

/// The text as a digest or its beginning, if it can be one.
fn digest_of(text: &str) -> Option<String> {
    if text.parse::<Digest>().is_ok() {
        return Some(text.to_owned());
    }
    let digits = text.strip_prefix("sha256:").unwrap_or(text);
    let fits = (MIN_DIGITS..=64).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    fits.then(|| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_told_from_devices() {
        let whole = Digest::of(b"x");
        let check = |text: &str, expected: Option<&str>| assert_eq!(digest_of(text).as_deref(), expected, "{text}");
        check(&whole.to_string(), Some(&whole.to_string()));
        check(&whole.short(), Some(&whole.short()));
        check("sha256:0123abcd", Some("0123abcd"));
        check("kiosk-1", None);
        check("0123abc", None);
        check("0123ABCD", None);
    }
}
