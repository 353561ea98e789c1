use super::super::tests::view;
use super::*;
use crate::cli::render::text::plain;
use crate::domain::digest::Digest;
use crate::domain::finding::Place;
use crate::domain::overview::changes::FieldChange;
use crate::domain::plan::gate::{Action, PlannedRollout};
use crate::domain::rollout::forecast::{Crowd, forecast};
use crate::domain::rollout::ready::Ready;
use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};

#[test]
fn a_plan_fits_a_merge_request() {
    insta::assert_snapshot!(markdown(&view(), None), @"
    ## Plan for stage production

    Commit `1a2b3c4d`, against commit 99887766 (origin/production).

    **plan 64879f7d6b96: 2 to retarget, 1 to unmanage, 2 unchanged, 1 excluded**

    ### Would be held

    - 2 devices would be unmanaged since the last approval; 1 may be

    After it is merged, if this is meant: `bellwether approve 64879f7d6b96`

    ### Unknown

    - what stage main claims now

    ### Excluded: they keep what they have

    - kiosk-3, because its files have findings

    ### Retarget 2 devices

    kiosk-1, kiosk-2

    | Field | From | To |
    | --- | --- | --- |
    | signage | 1.5.0 | 2.0.0 |

    ### Unmanage 1 device

    board-1

    No stage lists them any more; they keep what they have.


    _no controller was asked_

    Plan `sha256:64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525` of commit `1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d`.
    ");
}

#[test]
fn what_a_merge_would_do_is_told_in_full() {
    let mut view = view();
    view.onto = Some("99887766".repeat(5).parse().expect("a commit"));
    let owner: crate::domain::ids::StageName = "production".parse().expect("a stage");
    view.conflicts = vec![ClaimConflict {
        stages: ["main".parse().expect("a stage"), owner.clone()].into(),
        owner,
        devices: ["kiosk-1".parse().expect("a device")].into(),
    }];
    let policy = Ready::Cautious.policy();
    let planned = PlannedRollout {
        devices: ["kiosk-1".parse().expect("a device"), "kiosk-2".parse().expect("a device")].into(),
        steps: forecast(&policy, &[1, 0, 1].map(Crowd::of)),
    };
    view.plan.rollouts.insert("cautious".parse().expect("a policy"), planned);
    view.findings = vec![finding("pins: `signage` is unknown")];
    let diff = "--- kiosk-1 assigned\n+++ kiosk-1 desired\n@@ -1,1 +1,1 @@\n-\"a\": \"```\"\n+\"a\": 2\n";
    view.groups[0].diff = Some(diff.to_owned());
    insta::assert_snapshot!(markdown(&view, Some("plan.json")), @r#"
    ## Plan for stage production

    Commit `1a2b3c4d`, merged into `99887766`, against commit 99887766 (origin/production).

    **plan 64879f7d6b96: 2 to retarget, 1 to unmanage, 2 unchanged, 1 excluded**

    ### Would be held

    - 2 devices would be unmanaged since the last approval; 1 may be

    After it is merged, if this is meant: `bellwether approve 64879f7d6b96`

    ### Unknown

    - what stage main claims now

    ### Claimed by several stages

    - main, production; production is the most gated and owns 1 device: kiosk-1

    ### 2 devices step by step, as ` cautious ` says

    | Step | Devices | Number | May fail | Seen from | Ends after |
    | --- | --- | --- | --- | --- | --- |
    | one in a hundred | 1% of all devices | 1 | 0 | 100% | 60m to 3h 30m |
    | one in ten | 10% of all devices | 0 | 0 | 100% | 60m to 3h 30m |
    | final | all others | 1 | 0 | 100% | 13h 10m to 28h 10m |

    ### Excluded: they keep what they have

    - kiosk-3, because its files have findings

    ### Findings: 1 error, 0 warnings

    - **error** missing-release at host\_vars/kiosk-1.yml:3:1: pins: \`signage\` is unknown

    ### Retarget 2 devices

    kiosk-1, kiosk-2

    | Field | From | To |
    | --- | --- | --- |
    | signage | 1.5.0 | 2.0.0 |

    <details><summary>kiosk-1 line by line</summary>

    ````diff
    --- kiosk-1 assigned
    +++ kiosk-1 desired
    @@ -1,1 +1,1 @@
    -"a": "```"
    +"a": 2
    ````

    </details>

    ### Unmanage 1 device

    board-1

    No stage lists them any more; they keep what they have.


    _no controller was asked_

    Plan `sha256:64879f7d6b960a01909762d911a32d4582c20010c5641ee90278b644a9e3b525` of commit `1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d1a2b3c4d`.
    "#);
}

fn finding(message: &str) -> Finding {
    Finding {
        place: Place { file: "host_vars/kiosk-1.yml".to_owned(), line: 3, column: 1 },
        severity: Severity::Error,
        code: "missing-release".to_owned(),
        message: message.to_owned(),
        hint: None,
        excerpt: None,
        affects: Affects::Nothing,
    }
}

/// The view with a text from elsewhere in every place that can hold one.
fn with(text: &str) -> PlanView {
    let mut view = view();
    view.against = crate::cli::planning::Against::Commit {
        commit: "99887766".repeat(5).parse().expect("a commit"),
        named: text.to_owned(),
    };
    view.findings = vec![finding(text)];
    view.findings[0].place.file = text.to_owned();
    view.findings[0].code = text.to_owned();
    view.notes = vec![text.to_owned()];
    view.unknown = vec![text.to_owned()];
    view.plan.excluded = BTreeMap::from([("kiosk-3".parse().expect("a device"), text.to_owned())]);
    let field = FieldChange { field: text.to_owned(), from: Some(text.to_owned()), to: None };
    view.groups[0].group.fields = vec![field];
    view.groups[0].diff = Some(format!("+{text}\n"));
    view
}

/// What a reader of Markdown makes of a plan: the text that is shown, and everything that could act.
fn read(markdown: &str) -> (String, Vec<String>) {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_FOOTNOTES | Options::ENABLE_TASKLISTS;
    let (mut shown, mut acting) = (String::new(), Vec::new());
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Text(text) | Event::Code(text) => shown.push_str(&text),
            Event::SoftBreak | Event::HardBreak | Event::End(_) => shown.push('\n'),
            Event::InlineHtml(html) if ["<!-- -->", "<span>", "</span>"].contains(&&*html) => {}
            Event::Html(html) if is_ours(&html) => {}
            Event::Start(Tag::Link { .. } | Tag::Image { .. } | Tag::FootnoteDefinition(_) | Tag::Strikethrough)
            | Event::InlineHtml(_)
            | Event::Html(_)
            | Event::TaskListMarker(_)
            | Event::FootnoteReference(_) => acting.push(format!("{event:?}")),
            _ => {}
        }
    }
    (shown, acting)
}

fn is_ours(html: &str) -> bool {
    html.trim() == "</details>" || html.trim() == "<details><summary>kiosk-1 line by line</summary>"
}

/// What somebody might write into a title, a branch, a file or a value.
const HOSTILE: &[&str] = &[
    "<script>alert(1)</script>",
    "<img src=x onerror=y>",
    "</details>",
    "<!-- bellwether:plan -->",
    "-->",
    "```",
    "````\n</details>",
    "`",
    "[x](javascript:y)",
    "![x](https://example.org/y.png)",
    "[x]: https://example.org",
    "https://example.org/?q=1",
    "www.example.org",
    "@anna",
    "@acme/owners",
    "#1",
    "GH-1",
    "| a | b |",
    "|",
    "\n\n# big\n\n",
    "\n---\n",
    "\r\n::set-output name=a::b\r\n",
    "\n/close\n",
    "$(touch /tmp/x)",
    "${{ github.token }}",
    "{{ lookup('env', 'HOME') }}",
    "$a_b$",
    "\u{1b}[2J",
    "\u{1b}]8;;https://example.org\u{7}x",
    "\u{202e}txt.exe",
    "\u{0}",
    "~~a~~",
    "- [ ] a",
    "[^1]",
    "\\",
    "**",
    "__",
    "&lt;b&gt;",
    "a",
    " ",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_stands_in_a_repo_is_shown_as_text_and_nothing_of_it_acts(
        parts in prop::collection::vec(prop::sample::select(HOSTILE), 1..6),
    ) {
        let text = parts.concat();
        let markdown = markdown(&with(&text), None);
        let (shown, acting) = read(&markdown);
        prop_assert!(acting.is_empty(), "{acting:?} in {markdown}");
        prop_assert!(!markdown.chars().any(|c| c != '\n' && plain(&c.to_string()) != c.to_string()), "{markdown:?}");
        // Two places where nothing but the text stands: a note, and code.
        let wanted = plain(&text);
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        prop_assert!(words(&shown).contains(&words(&wanted)), "{wanted:?} is not in {shown:?}");
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_plan_is_never_longer_than_a_comment(
        letter in prop::sample::select(vec!["a", "$", "@", "é", "`", "|", "\u{0}"]),
        length in 0_usize..1_500, groups in 0_usize..60, fields in 0_usize..60, lines in 0_usize..60,
    ) {
        let text = letter.repeat(length);
        let mut view = with(&text);
        view.notes = vec![text.clone(); lines];
        view.unknown = vec![text.clone(); lines];
        view.findings = vec![finding(&text); lines];
        view.groups[0].group.fields = view.groups[0].group.fields.iter().cycle().take(fields).cloned().collect();
        view.groups = view.groups.iter().cycle().take(groups).cloned().collect();
        let markdown = markdown(&view, Some("plan.json"));
        prop_assert!(markdown.len() <= MAX_COMMENT_BYTES, "{}", markdown.len());
        let (_, acting) = read(&markdown);
        prop_assert!(acting.is_empty(), "{acting:?}");
        prop_assert!(markdown.contains(&view.plan.digest.to_string()));
    }
}

#[test]
fn ten_thousand_equal_changes_are_one_entry() {
    let mut view = view();
    view.groups.truncate(1);
    view.groups[0].group.devices =
        (0..10_000).map(|number| format!("kiosk-{number:05}").parse().expect("a device")).collect();
    let markdown = markdown(&view, None);
    assert!(markdown.contains("### Retarget 10000 devices\n\nkiosk-00000, kiosk-00001,"), "{markdown}");
    assert!(markdown.contains("kiosk-00019 and 9980 more\n"), "{markdown}");
    assert!(markdown.len() < 2_000, "{}", markdown.len());
}

#[test]
fn what_is_left_out_is_said_and_where_it_is() {
    let mut view = view();
    let one = view.groups[0].clone();
    view.groups = (0..500)
        .map(|number| {
            let mut group = one.clone();
            group.group.devices = [format!("kiosk-{number}").parse().expect("a device")].into();
            group.diff = Some("+a\n".repeat(1_000));
            group
        })
        .collect();
    let text = markdown(&view, Some("plan.json"));
    assert!(text.contains("shortened; the whole plan is in ` plan.json `.**"), "{}", &text[text.len() - 600..]);
    view.groups = view.groups.iter().cycle().take(5_000).cloned().collect();
    let text = markdown(&view, None);
    assert!(
        text.contains("left out; `bellwether plan -o json` shows the whole plan.**"),
        "{}",
        &text[text.len() - 600..]
    );
}

#[test]
fn the_same_plan_has_the_same_bytes_and_comes_back_from_them() {
    let mut view = with("x");
    view.groups[0].group.action = Action::Retarget;
    let written = serde_json::to_string(&view).expect("JSON");
    let read: PlanView = serde_json::from_str(&written).expect("a plan");
    assert_eq!(read, view);
    assert_eq!(serde_json::to_string(&read).expect("JSON"), written);
    assert_eq!(read.plan.digest, Digest::of(b"plan"));
}
