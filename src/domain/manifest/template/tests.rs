use super::super::yaml::parse;
use super::*;
use minijinja::value::Value as Jinja;

/// Renders a template over variables in YAML; faults are shown with the text that they are about.
fn check(template: &str, variables: &str) -> String {
    let document = parse(variables.as_bytes()).expect("good YAML");
    let fields = match document.map(|node| node.kind) {
        Some(crate::domain::manifest::yaml::Kind::Map(map)) => map.entries,
        _ => Vec::new(),
    };
    let context: std::collections::BTreeMap<String, Jinja> =
        fields.iter().map(|field| (field.key.text.to_string(), jinja(&field.value))).collect();
    let shown = |fault: Fault| {
        let part = fault.range.and_then(|range| template.get(range)).map(|part| format!(" at `{part}`"));
        format!("error: {}{}", fault.message, part.unwrap_or_default())
    };
    match Template::new(template, Span::default()).and_then(|one| render(&one, &context.into())) {
        Ok(Out::Text(text)) => text,
        Ok(Out::Secret(pieces)) => format!("{pieces:?}"),
        Err(fault) => shown(fault),
    }
}

fn jinja(node: &crate::domain::manifest::yaml::Node) -> Jinja {
    use crate::domain::manifest::yaml::Kind;
    match &node.kind {
        Kind::Scalar(scalar) => literal(scalar),
        Kind::List(items) => items.iter().map(jinja).collect::<Vec<_>>().into(),
        Kind::Map(map) => {
            let pairs = map.entries.iter().map(|field| (field.key.text.to_string(), jinja(&field.value)));
            pairs.collect::<std::collections::BTreeMap<_, _>>().into()
        }
    }
}

#[test]
fn scalars_print_their_source_text() {
    for text in ["1.10", "NO", "017", "12:30", "0x1F", "1_000", "2026-01-02", "true", "8080", "1.5", "hello", "'NO'"] {
        assert_eq!(check("{{ v }}", &format!("v: {text}")), text.trim_matches('\''), "{text}");
    }
    assert_eq!(check("http://{{ host }}:{{ port }}/", "{host: kiosk, port: 0080}"), "http://kiosk:0080/");
}

#[test]
fn scalars_count_as_their_type() {
    let yes_or_no = "{% if v %}yes{% else %}no{% endif %}";
    for (text, expected) in [("NO", "no"), ("off", "no"), ("0", "no"), ("false", "no"), ("on", "yes"), ("1", "yes")] {
        assert_eq!(check(yes_or_no, &format!("v: {text}")), expected, "{text}");
    }
    assert_eq!(check("{{ port + 1 }}", "port: 8080"), "8081");
    assert_eq!(check("{{ 017 | int if false else (v | int) }}", "v: 017"), check("{{ v | int }}", "v: 017"));
    assert_eq!(check("{{ v | int }}", "v: 017"), "15");
    assert_eq!(check("{{ v | float }}", "v: 1.10"), "1.1");
}

/// A peer's failure: the text `false` switches something on.
#[test]
fn the_text_false_does_not_enable_anything_through_the_filter_bool() {
    let yes_or_no = "{% if v | bool %}yes{% else %}no{% endif %}";
    for text in ["'false'", "'no'", "'off'", "'0'", "''", "false", "NO"] {
        assert_eq!(check(yes_or_no, &format!("v: {text}")), "no", "{text}");
    }
    for text in ["'true'", "'yes'", "'1'", "on"] {
        assert_eq!(check(yes_or_no, &format!("v: {text}")), "yes", "{text}");
    }
    assert_eq!(check(yes_or_no, "v: maybe"), "error: `bool`: `maybe` is neither true nor false at `bool`");
}

#[test]
fn what_is_not_defined_is_a_fault_at_its_place() {
    assert_eq!(check("a {{ sitee }} b", "site: bern"), "error: `sitee` is not defined at `sitee`");
    assert_eq!(check("{{ site.city }}", "site: {town: bern}"), "error: `site.city` is not defined at `site.city`");
    assert_eq!(check("{{ site | default('none') }}", ""), "none");
    assert_eq!(check("{{ site | upper }}", ""), "error: `site` is not defined at `upper`");
    assert_eq!(check("{% if site is defined %}{{ site }}{% endif %}", ""), "");
}

#[test]
fn what_has_no_text_is_a_fault() {
    let list = "error: `v`: it is a list; use `join(',')` or `to_json` at `v`";
    assert_eq!(check("{{ v }}", "v: [a]"), list);
    assert!(check("{{ v }}", "v: {a: 1}").contains("it is a mapping"));
    assert!(check("{{ v }}", "v: ~").contains("it is null"));
    assert_eq!(check("{{ v | join(',') }}", "v: [a, 1.10, NO]"), "a,1.10,NO");
}

/// A peer's failure: values pasted into JSON break out of it.
#[test]
fn values_are_written_as_json_with_everything_escaped() {
    let hostile = r#"v: "a\"b\\c\nd""#;
    assert_eq!(check(r#"{"v": {{ v | to_json }}}"#, hostile), r#"{"v": "a\"b\\c\nd"}"#);
    assert_eq!(check("{{ v | to_json }}", "v: [1.10, NO, ~, {a: 'x'}]"), r#"[1.1, false, null, {"a": "x"}]"#);
    assert_eq!(
        check(r#"{"token": {{ secret('T') | to_json }}}"#, ""),
        r#"[Text("{\"token\": \""), Secret("T", Json), Text("\"}")]"#
    );
}

#[test]
fn secrets_are_references_and_nothing_can_be_read_from_them() {
    assert_eq!(check("Bearer {{ secret('T') }}", ""), r#"[Text("Bearer "), Secret("T", Plain)]"#);
    for lookup in ["lookup('env', 'T')", "lookup('ansible.builtin.env', 'T')", "lookup(\"env\", \"T\")"] {
        assert_eq!(check(&format!("{{{{ {lookup} }}}}"), ""), r#"[Secret("T", Plain)]"#);
    }
    assert_eq!(check("{{ secret('T') | b64encode }}", ""), r#"[Secret("T", Base64)]"#);
    for probe in [
        "{{ secret('T') | upper }}",
        "{{ secret('T') ~ 'x' }}",
        "{{ secret('T') | length }}",
        "{{ secret('T') | int }}",
        "{{ secret('T') | replace('a', 'b') }}",
        "{{ secret('T') | first }}",
        "{{ [secret('T') ~ ''] | to_json }}",
        "{{ ('x' ~ secret('T')) | b64encode | length }}{{ secret('T') ~ '' }}",
    ] {
        let shown = check(probe, "");
        assert!(shown.starts_with("error: "), "{probe}: {shown}");
    }
    assert_eq!(check("{% if secret('T') == 'guess' %}right{% endif %}", ""), "");
    assert!(check("{{ lookup('file', '/etc/passwd') }}", "").contains("there is no look-up `file`"));
    assert!(check("{{ secret('../x') }}", "").contains("is not a secret name"));
}

#[test]
fn text_that_looks_like_a_reference_stays_text() {
    assert_eq!(check("{{ v }}", "v: 'secret:T@0123456789abcdef'"), "secret:T@0123456789abcdef");
    assert!(check("{{ v }}", r#"v: "\0plain T\0""#).starts_with("error: "), "marks cannot be forged");
}

#[test]
fn nothing_grows_beyond_its_bound() {
    let long = format!("v: {}", "a".repeat(30_000));
    assert!(check("{{ v }}{{ v }}", &long).contains("comes to more than"));
    assert!(check("{{ v | replace('a', v) }}", &long).contains("would have more than"));
    assert!(check("{{ v | split('') | join(v) }}", &long).starts_with("error: "));
    assert!(check("{% for i in range(100000) %}{{ i }}{% endfor %}", "").starts_with("error: "));
    assert!(check("{{ 'a' * 99999999 }}", "").contains("cannot multiply"));
    assert!(check("{{ 2 ** 9999999 }}", "").contains("cannot multiply"));
    assert!(check(&format!("{{{{ v{} }}}}", " ~ v".repeat(17)), "v: a").contains("at most 16 times"));
    let loops = "{% for a in 'x' %}{% for b in 'x' %}{% for c in 'x' %}{% endfor %}{% endfor %}{% endfor %}";
    assert!(check(loops, "").contains("at most 2 loops"));
    assert!(check(&"x".repeat(9000).replace("xx", "{#"), "").contains("at most 8192"));
}

#[test]
fn a_template_reads_no_file_and_runs_no_program() {
    for template in [
        "{{ lookup('file', '/etc/passwd') }}",
        "{{ lookup('pipe', 'id') }}",
        "{{ query('file', '/etc/passwd') }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ open('/etc/passwd') }}",
        "{{ range(3) | map('system') }}",
        "{% include '/etc/passwd' %}",
    ] {
        let came_to = check(template, "");
        assert!(came_to.starts_with("error: "), "{template} came to {came_to}");
    }
}

#[test]
fn what_could_double_a_text_is_not_there() {
    for template in [
        "{% set a = 1 %}",
        "{% with a = 1 %}{% endwith %}",
        "{% macro m() %}{% endmacro %}",
        "{% include 'x' %}",
        "{% import 'x' as y %}",
        "{%- filter upper %}{% endfilter %}",
    ] {
        assert!(check(template, "").contains("templates have no statement"), "{template}");
    }
    assert!(check("{{ namespace() }}", "").starts_with("error: "));
    assert_eq!(check("{% raw %}{% set %} {{ x }}{% endraw %}", ""), "{% set %} {{ x }}");
    assert_eq!(check("{{ '}} ~ ~' }}", ""), "}} ~ ~");
}

proptest::proptest! {
    #[test]
    fn any_text_can_be_tried(source in r"[a-z{}%#'~+*. |()\[\]0-9-]{0,80}", value in "[ -~]{0,20}") {
        let value = serde_json::Value::from(value).to_string();
        check(&source, &format!("a: {value}"));
    }
}
