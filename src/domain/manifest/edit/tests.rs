//! Edits of files as people write them.

use super::{Dialect, Edit, EditError, edit};

/// The lines that an edit changed, as a diff without context, or why it was refused.
fn check(text: &str, edits: &[Edit]) -> String {
    let after = match edit(text, edits, Dialect::Yaml) {
        Ok(after) => after,
        Err(error) => return format!("refused: {error}"),
    };
    lines_changed(text, &after)
}

/// Everything but the equal lines at both ends.
fn lines_changed(before: &str, after: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) =
        (before.split_inclusive('\n').collect(), after.split_inclusive('\n').collect());
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old[same..].iter().rev().zip(new[same..].iter().rev()).take_while(|(a, b)| a == b).count();
    let shown = |sign: char, line: &&str| {
        format!(
            "{sign}{}",
            line.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'").trim_end_matches("\\n")
        )
    };
    let gone = old[same..old.len() - tail].iter().map(|line| shown('-', line));
    let come = new[same..new.len() - tail].iter().map(|line| shown('+', line));
    gone.chain(come).collect::<Vec<_>>().join("\n")
}

const KIOSK: &str = "\
# The kiosk at the harbour.
branch: canary             # the students see everything first

pins:
  # not 2.0.0, it flickers
  signage: \"1.4.2\"  # until March
  telemetry: 0.9.3

tags: {site: harbour, 'floor': 1}
variables:
    NOTE: |
      two
      lines

    LAST: x
# the end
";

#[test]
fn spans_are_as_the_editor_takes_them() {
    use crate::domain::manifest::yaml::{Kind, Node, parse};
    fn walk(text: &str, node: &Node, depth: usize, out: &mut String) {
        let (a, b) = (node.span.start as usize, node.span.end as usize);
        out.push_str(&format!("{}{:?}\n", " ".repeat(depth), &text[a..b.max(a)]));
        match &node.kind {
            Kind::Map(map) => map.entries.iter().for_each(|field| {
                out.push_str(&format!(
                    "{}{} =\n",
                    " ".repeat(depth),
                    &text[field.key.span.start as usize..field.key.span.end as usize]
                ));
                walk(text, &field.value, depth + 1, out);
            }),
            Kind::List(items) => items.iter().for_each(|item| walk(text, item, depth + 1, out)),
            Kind::Scalar(_) => {}
        }
    }
    let text = "a: &x 1\nb: *x\nc:\nd: |\n  one\n\n  two\n\n# c\ne: {f: , g}\nh: &m\n  i: plain\n    more # c\nj: !!str k\nl: &n {o: p}\nq: [1, 2]\nr:\n- s\n- t: u\n";
    let root = parse(text.as_bytes()).expect("YAML").expect("a document");
    let mut out = String::new();
    walk(text, &root, 0, &mut out);
    insta::assert_snapshot!(out, @r#"
    "a: &x 1\nb: *x\nc:\nd: |\n  one\n\n  two\n\n# c\ne: {f: , g}\nh: &m\n  i: plain\n    more # c\nj: !!str k\nl: &n {o: p}\nq: [1, 2]\nr:\n- s\n- t: u\n"
    a =
     "1"
    b =
     "1"
    c =
     ""
    d =
     "one\n\n  two\n\n"
    e =
     "{f: , g"
     f =
      ""
     g =
      ""
    h =
     "i: plain\n    more # c\n"
     i =
      "plain\n    more"
    j =
     "k"
    l =
     "{o: p"
     o =
      "p"
    q =
     "[1, 2"
      "1"
      "2"
    r =
     "s\n- t: u\n"
      "s"
      "t: u\n"
      t =
       "u"
    "#);
}

#[test]
fn values_are_replaced_in_their_own_style() {
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["branch"], "main")]), @r"
    -branch: canary             # the students see everything first
    +branch: main             # the students see everything first
    ");
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["pins", "signage"], "1.5.0")]), @r#"
    -  signage: "1.4.2"  # until March
    +  signage: "1.5.0"  # until March
    "#);
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["pins", "telemetry"], "^1.0")]), @r"
    -  telemetry: 0.9.3
    +  telemetry: ^1.0
    ");
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["tags", "floor"], "ground, left")]), @r#"
    -tags: {site: harbour, 'floor': 1}
    +tags: {site: harbour, 'floor': "ground, left"}
    "#);
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["variables", "NOTE"], "one line")]), @r"
    -    NOTE: |
    -      two
    -      lines
    +    NOTE: one line
    ");
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["variables", "LAST"], "two\nlines: \"#\"")]), @r##"
    -    LAST: x
    +    LAST: "two\\nlines: \\"#\\""
    "##);
    insta::assert_snapshot!(check("a: 'it''s'\n", &[Edit::set(&["a"], "isn't")]), @r"
    -a: 'it''s'
    +a: 'isn''t'
    ");
}

#[test]
fn texts_that_would_be_read_as_something_else_are_quoted() {
    for text in [
        "true",
        "NO",
        "1.10",
        "017",
        "12:30",
        "2025-01-01",
        "",
        " x",
        "x ",
        "a: b",
        "a #b",
        "#a",
        "*",
        "&a",
        ">=1",
        "null",
        "~",
        "- a",
        "? a",
        "%a",
        "@a",
        "`a",
        "a:",
        "[a",
        "{a",
        "a, b",
        "'",
        "\"",
        "\\",
        "\t",
        "\u{7}",
        "\u{2028}",
        "é",
        "日本",
        "1e3",
        "0x1f",
        "...",
        "---",
        "<<",
        "=",
        "!a",
        "a\r\nb",
    ] {
        for file in [
            "a: x\n",
            "{a: x}\n",
            "a: 'x'\n",
            "a: \"x\"\n",
            "b: 1\n",
            "{b: 1}\n",
            "a:\n",
            "{a: }\n",
            "{a}\n",
            "",
            "# c\n",
            "a: >\n  x\n",
            "a: |-\n  x\n",
        ] {
            let edits = [Edit::set(&["a"], text)];
            let after =
                edit(file, &edits, Dialect::Yaml).unwrap_or_else(|error| panic!("{text:?} in {file:?}: {error}"));
            assert!(!after.is_empty());
        }
    }
    insta::assert_snapshot!(check("a: x\n", &[Edit::set(&["a"], "NO")]), @r#"
    -a: x
    +a: "NO"
    "#);
    insta::assert_snapshot!(check("a: 1.5\n", &[Edit::set(&["a"], "1.10")]), @r"
    -a: 1.5
    +a: 1.10
    ");
    insta::assert_snapshot!(check("a: x\n", &[Edit::set(&["a"], "say \"hi\"")]), @r#"
    -a: x
    +a: say "hi"
    "#);
}

#[test]
fn new_keys_come_after_the_last_one_of_their_mapping() {
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["pins", "radio"], "latest")]), @"+  radio: latest");
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["tags", "owner"], "ops")]), @r"
    -tags: {site: harbour, 'floor': 1}
    +tags: {site: harbour, 'floor': 1, owner: ops}
    ");
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["variables", "MORE"], "y")]), @"+    MORE: y");
    insta::assert_snapshot!(check(KIOSK, &[Edit::set(&["services", "player", "variables", "A"], "1")]), @r"
    +services:
    +  player:
    +    variables:
    +      A: 1
    ");
    insta::assert_snapshot!(check("a: {}\n", &[Edit::set(&["a", "b", "c"], "1")]), @r"
    -a: {}
    +a: { b: { c: 1 } }
    ");
    insta::assert_snapshot!(check("a: # why\nb: 1\n", &[Edit::set(&["a", "b", "c"], "1")]), @r"
    +  b:
    +    c: 1
    ");
    insta::assert_snapshot!(check("a: ~\n", &[Edit::set(&["a", "b"], "1")]), @r"
    -a: ~
    +a: { b: 1 }
    ");
    insta::assert_snapshot!(check("a:\n  - x\n  - y: 1\n    z: 2\n", &[Edit::set(&["b"], "1")]), @"+b: 1");
    insta::assert_snapshot!(check("", &[Edit::set(&["pins", "app"], "1.0.0")]), @r"
    +pins:
    +  app: 1.0.0
    ");
    insta::assert_snapshot!(check("# nothing yet", &[Edit::set(&["pins", "app"], "1.0.0")]), @r"
    -# nothing yet
    +# nothing yet
    +pins:
    +  app: 1.0.0
    ");
    insta::assert_snapshot!(check("---\na: 1\n", &[Edit::set(&["b"], "2")]), @"+b: 2");
    insta::assert_snapshot!(check("a: 1", &[Edit::set(&["b"], "2")]), @r"
    -a: 1
    +a: 1
    +b: 2
    ");
    insta::assert_snapshot!(check("{\n  a: 1, # one\n  b: 2\n}\n", &[Edit::set(&["c"], "3")]), @r"
    -  b: 2
    +  b: 2, c: 3
    ");
    insta::assert_snapshot!(check("a:\n  b: 1\n\n\nc: 2\n", &[Edit::set(&["a", "d"], "3")]), @"+  d: 3");
}

#[test]
fn line_ends_stay_as_they_are() {
    let text = "a: 1\r\npins:\r\n  x: 1.0.0  # c\r\nb: 2\r\n";
    insta::assert_snapshot!(check(text, &[Edit::set(&["pins", "x"], "2.0.0")]), @r"
    -  x: 1.0.0  # c\r
    +  x: 2.0.0  # c\r
    ");
    insta::assert_snapshot!(check(text, &[Edit::set(&["pins", "y"], "2.0.0")]), @r"+  y: 2.0.0\r");
    insta::assert_snapshot!(check(text, &[Edit::set(&["tags", "y"], "z")]), @r"
    +tags:\r
    +  y: z\r
    ");
    insta::assert_snapshot!(check(text, &[Edit::remove(&["pins", "x"])]), @r"
    -pins:\r
    -  x: 1.0.0  # c\r
    ");
    insta::assert_snapshot!(check("\u{feff}a: 1\r\n", &[Edit::set(&["b"], "z"), Edit::remove(&["a"])]), @r"
    -\u{feff}a: 1\r
    +\u{feff}b: z\r
    ");
}

#[test]
fn what_is_taken_away_takes_its_lines_and_empty_mappings_along() {
    insta::assert_snapshot!(check(KIOSK, &[Edit::remove(&["pins", "signage"])]), @r#"-  signage: "1.4.2"  # until March"#);
    insta::assert_snapshot!(check(KIOSK, &[Edit::remove(&["pins", "signage"]), Edit::remove(&["pins", "telemetry"])]), @r#"
    -pins:
    -  # not 2.0.0, it flickers
    -  signage: "1.4.2"  # until March
    -  telemetry: 0.9.3
    "#);
    insta::assert_snapshot!(check(KIOSK, &[Edit::remove(&["tags", "site"])]), @r"
    -tags: {site: harbour, 'floor': 1}
    +tags: {'floor': 1}
    ");
    insta::assert_snapshot!(check(KIOSK, &[Edit::remove(&["tags", "floor"])]), @r"
    -tags: {site: harbour, 'floor': 1}
    +tags: {site: harbour}
    ");
    insta::assert_snapshot!(check(KIOSK, &[Edit::remove(&["variables", "NOTE"])]), @r"
    -    NOTE: |
    -      two
    -      lines
    ");
    insta::assert_snapshot!(check(KIOSK, &[Edit::remove(&["nothing"])]), @"refused: there is no `nothing`");
    let keep = |path: &[&str], keep| Edit::Remove { path: path.iter().map(|key| (*key).to_owned()).collect(), keep };
    insta::assert_snapshot!(check("h:\n  a: {x: 1}\n  b: 2\n", &[keep(&["h", "a", "x"], 2)]), @r"
    -  a: {x: 1}
    +  a: {}
    ");
    insta::assert_snapshot!(check("h:\n  a:  # one\n    # two\n    x: 1\n  b: 2\n", &[keep(&["h", "a", "x"], 2)]), @r"
    -  a:  # one
    -    # two
    -    x: 1
    +  a: {}  # one
    +    # two
    ");
    insta::assert_snapshot!(check("h:\n  a:\n    x: 1\n  b: 2\n", &[Edit::remove(&["h", "a", "x"])]), @r"
    -  a:
    -    x: 1
    ");
    insta::assert_snapshot!(check("a: 1", &[Edit::remove(&["a"])]), @"-a: 1");
    insta::assert_snapshot!(check("a: 1\nb: 2", &[Edit::remove(&["b"])]), @r"
    -a: 1
    -b: 2
    +a: 1
    ");
}

#[test]
fn what_would_change_more_than_asked_is_refused() {
    insta::assert_snapshot!(check("a: &x 1\nb: *x\n", &[Edit::set(&["a"], "2")]), @"refused: changing `a` would change something else too");
    insta::assert_snapshot!(check("a: &x 1\nb: *x\n", &[Edit::set(&["b"], "2")]), @r"
    -b: *x
    +b: 2
    ");
    insta::assert_snapshot!(check("a: &x {k: 1}\nb: *x\n", &[Edit::set(&["b", "k"], "2")]), @"refused: `b` is an alias of something that is written elsewhere");
    insta::assert_snapshot!(check("a: &x {k: 1}\nb: {<<: *x, l: 1}\n", &[Edit::set(&["b", "k"], "2")]), @r"
    -b: {<<: *x, l: 1}
    +b: {<<: *x, l: 1, k: 2}
    ");
    insta::assert_snapshot!(check("a: &x\n  k: 1\nb:\n  l: 1\n  <<: *x\n", &[Edit::set(&["b", "k"], "2")]), @"+  k: 2");
    insta::assert_snapshot!(check("a: &x {k: 1}\nb: {<<: *x}\n", &[Edit::remove(&["b", "k"])]), @"refused: there is no `b.k`");
    insta::assert_snapshot!(check("a: &x 1\nb: *x\n", &[Edit::remove(&["a"])]), @"refused: changing `a` would change something else too");
    insta::assert_snapshot!(check("a: 1\na: 2\n", &[Edit::set(&["a"], "3")]), @"refused: `a` stands twice");
    insta::assert_snapshot!(check("a: [1]\n", &[Edit::set(&["a"], "3")]), @"refused: `a` is not a single value");
    insta::assert_snapshot!(check("a: [1]\n", &[Edit::set(&["a", "b"], "3")]), @"refused: `a` is not a mapping");
    insta::assert_snapshot!(check("a: 1\n---\nb: 2\n", &[Edit::set(&["a"], "3")]), @"refused: the file is not YAML: line 2: the file holds more than one document");
    insta::assert_snapshot!(check("{a: 1, # one\n b: 2}\n", &[Edit::remove(&["a"])]), @"refused: `a` is laid out in a way that cannot be changed without touching its neighbours");
}

#[test]
fn json_stays_json() {
    let json = |text: &str, edits: &[Edit]| edit(text, edits, Dialect::Json).expect("an edit");
    assert_eq!(json("{\"a\": \"1\"}\n", &[Edit::set(&["b", "c"], "x")]), "{\"a\": \"1\", \"b\": { \"c\": \"x\" }}\n");
    assert_eq!(json("{\"a\": 1}", &[Edit::set(&["a"], "2")]), "{\"a\": \"2\"}");
}

/// The parser's marks for this one lie beyond its end.
#[test]
fn a_document_whose_marks_are_wrong_is_no_panic() {
    let odd = " &|-'c ,&#\"[:\n- #* &* []\"]'?[]&";
    for one in [Edit::set(&["a"], "x"), Edit::set(&["a", "b"], "x"), Edit::remove(&["a"])] {
        let _ = edit(odd, &[one], Dialect::Yaml);
        let _ = edit(&odd[1..], &[Edit::set(&["a"], "")], Dialect::Yaml);
    }
}

#[test]
fn a_refused_edit_says_what_it_would_have_done() {
    let refused = edit("a: &x 1\nb: *x\n", &[Edit::set(&["a"], "2")], Dialect::Yaml).expect_err("it changes b too");
    assert!(matches!(refused, EditError::Unfaithful { attempted, .. } if attempted == "a: &x 2\nb: *x\n"));
}
