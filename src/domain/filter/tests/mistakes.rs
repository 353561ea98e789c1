//! What is wrong with a filter, shown in its text, and the bounds of what is read.

use super::*;

#[test]
fn what_is_wrong_is_shown_in_the_expression() {
    let cases = [
        "",
        "reproted.cpu == \"MIPS\"",
        "kiosks in groups",
        "reported.cpu = \"MIPS\"",
        "reported.cpu == \"MIPS\" and true",
        "reported.cpu ==",
        "(reported.cpu == \"MIPS\"",
        "reported.cpu == 4",
        "reported.cpu_count == \"4\"",
        "tags.site",
        "tags == \"a\"",
        "groups == \"a\"",
        "tags.site.startswith(\"hk\")",
        "tags.site.startsWith(4)",
        "startsWith(tags.site, \"hk\")",
        "size(tags.site) > 3",
        "tags.site + \"a\" == \"b\"",
        "tags.site in [\"a\", 4]",
        "tags.site.matches(\"(\")",
        "tags.ünï.x == \"a\"",
        "\"ü\" == tags.sité && nothing",
        "in_group(\"nobody\")",
        "(tags.a == \"b\") == true",
        "tags.a == null",
        "{\"a\": 1}",
        "'unfinished",
        "vars.kiosk_enabled",
        "vars == \"a\"",
        "vars[\"a\\u0000b\"] == 1",
        "\"x\" in vars.list",
        "tags.site.deeper == \"a\"",
    ];
    let groups = DynamicGroups::default();
    let shown = cases.iter().fold(String::new(), |mut all, text| {
        let _ = writeln!(all, "{}", show(text, &groups));
        all
    });
    insta::assert_snapshot!(shown, @r#"
    ^
    the filter is empty; write a question about a device, such as `"kiosks" in groups`

    reproted.cpu == "MIPS"
    ^^^^^^^^
    there is no `reproted`; did you mean `reported`?

    kiosks in groups
    ^^^^^^
    there is no `kiosks`; known names: device, stage, device_type, groups, tags, labels, vars, reported, registry; text stands in quotes

    reported.cpu = "MIPS"
                 ^
    `=` is not expected here; write `==` to compare

    reported.cpu == "MIPS" and true
                           ^^^
    `and` is not expected here; write `&&`

    reported.cpu ==
                   ^
    the filter ends before it is complete

    (reported.cpu == "MIPS"
                           ^
    the filter ends before it is complete

    reported.cpu == 4
                    ^
    `reported.cpu` is text, and this is a number; write "4", or `int(reported.cpu)`

    reported.cpu_count == "4"
                          ^^^
    `reported.cpu_count` is a number here, and this is text; compare it with a number, without quotes

    tags.site
    ^^^^^^^^^
    `tags.site` is neither true nor false; compare it with something, or write `has(…)`

    tags == "a"
    ^^^^^^^^^^^
    `tags` is a whole set of attributes; name one of them: `tags.site`

    groups == "a"
    ^^^^^^^^^^^^^
    `groups` is a list and cannot be compared; write `"kiosks" in groups`

    tags.site.startswith("hk")
              ^^^^^^^^^^
    there is no function `startswith`; did you mean `startsWith`?

    tags.site.startsWith(4)
                         ^
    `startsWith` takes text in quotes

    startsWith(tags.site, "hk")
    ^^^^^^^^^^
    `startsWith` is not used like this; write `tags.site.startsWith("hk")`

    size(tags.site) > 3
    ^^^^
    there is no function `size`; known functions: has, in_group, int, startsWith, endsWith, contains, matches

    tags.site + "a" == "b"
    ^^^^^^^^^^^^^^^
    `+` has no meaning in a filter; a filter is made of comparisons with &&, || and !

    tags.site in ["a", 4]
                       ^
    `tags.site` is text, and this is a number; write "4", or `int(tags.site)`

    tags.site.matches("(")
                      ^^^
    this is not a regular expression; unclosed group

    tags.ünï.x == "a"
         ^^^
    `ünï` is not expected here

    "ü" == tags.sité && nothing
                   ^
    `é` is not expected here

    in_group("nobody")
             ^^^^^^^^
    no dynamic group is called `nobody`; fleet.yml names none under `groups:`

    (tags.a == "b") == true
     ^^^^^^^^^^^^^
    this is true or false, and not a value to compare; combine it with && and ||

    tags.a == null
              ^^^^
    `null` has no meaning in a filter; write `!has(…)`

    {"a": 1}
    ^
    a mapping has no meaning in a filter

    'unfinished
    ^
    `'` is not expected here

    vars.kiosk_enabled
    ^^^^^^^^^^^^^^^^^^
    `vars.kiosk_enabled` is neither true nor false; compare it, such as with `== true`, or write `has(…)`

    vars == "a"
    ^^^^^^^^^^^
    `vars` is a whole set of attributes; name one of them: `vars.site`

    vars["a\u0000b"] == 1
         ^^^^^^^^^^
    no attribute has such a name

    "x" in vars.list
           ^^^^^^^^^
    nothing can be in `vars.list`; `in` takes `groups`, a list such as ["a", "b"], or a set of attributes such as `tags`

    tags.site.deeper == "a"
              ^^^^^^
    `tags.site` has nothing below it
    "#);
}

#[test]
fn what_would_drive_the_parser_deep_is_refused_before_it_is_asked() {
    let groups = DynamicGroups::default();
    for text in [
        format!("{}true{}", "(".repeat(5000), ")".repeat(2000)),
        format!("{}true", "!".repeat(5000)),
        format!("tags{}", ".a".repeat(3000)),
        format!("tags{}", "[\"a\"]".repeat(1000)),
        format!("1{}", "+1".repeat(3000)),
        format!("tags.a{}", " in tags.a".repeat(500)),
        format!("true{}", " ? true : true".repeat(300)),
        "[".repeat(8000),
        "a".repeat(MAX_FILTER_BYTES + 1),
    ] {
        assert!(Filter::new(&text, &groups).is_err());
    }
}

#[test]
fn filters_at_the_bounds_are_read_on_a_small_stack() {
    let at_bounds = || {
        let groups = DynamicGroups::default();
        let deep = format!("{}true{}", "(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
        assert!(Filter::new(&deep, &groups).is_ok());
        let knots = format!("{}true{}", "!(".repeat(MAX_DEPTH), ")".repeat(MAX_DEPTH));
        assert!(Filter::new(&knots, &groups).is_ok());
        let wide = vec!["tags.a == \"b\""; 400].join(" || ");
        assert!(Filter::new(&wide, &groups).is_ok());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(at_bounds).unwrap().join().unwrap();
}
