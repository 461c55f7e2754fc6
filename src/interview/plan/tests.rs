use super::*;

const SMALL: &str = r#"title = "Small"
time_minutes = 10

[[sections]]
title = "One"

[[sections.questions]]
text = "Why?"
"#;

fn error(text: &str) -> String {
    match Plan::parse(text, "plans/bad.toml") {
        Ok(_) => panic!("the plan was taken"),
        Err(e) => e.to_string(),
    }
}

#[test]
fn a_small_plan_gets_the_defaults() {
    let plan = Plan::parse(SMALL, "small.toml").unwrap();
    assert_eq!(plan.interviewer(), "Viva");
    assert_eq!(plan.time_ms(), 600_000);
    assert_eq!(
        plan.questions(),
        [Question {
            section: 0,
            id: "q1".into(),
            text: "Why?".into(),
            follow_ups_max: 1,
            time_ms: None
        }]
    );
    assert_eq!(plan.section_of(1), "One");
    assert!(plan.question(0).is_none());
    assert!(plan.question(2).is_none());
}

#[test]
fn the_plans_that_come_with_viva_can_be_used() {
    for (name, text) in [
        ("default", include_str!("../../../plans/default.toml")),
        ("demo", include_str!("../../../plans/demo.toml")),
    ] {
        if let Err(e) = Plan::parse(text, name) {
            panic!("{e}");
        }
    }
}

#[test]
fn another_editor_does_not_change_the_hash() {
    let plan = Plan::parse(SMALL, "a").unwrap();
    let windows = format!("\u{feff}{}\r\n\r\n", SMALL.replace('\n', "\r\n"));
    assert_eq!(Plan::parse(&windows, "b").unwrap(), plan);
    assert_eq!(Plan::parse(plan.body(), "c").unwrap(), plan);
    let other = SMALL.replace("Why?", "Why not?");
    assert_ne!(Plan::parse(&other, "d").unwrap().hash(), plan.hash());
}

#[test]
fn a_misspelt_key_is_answered_with_the_right_one() {
    insta::assert_snapshot!(error(&SMALL.replace("text", "txet")));
    insta::assert_snapshot!(error(&format!("{SMALL}folow_up_max = 2\n")));
    insta::assert_snapshot!(error(&format!("colour = 'red'\n{SMALL}")));
}

#[test]
fn text_that_is_not_toml_is_shown_where_it_breaks() {
    insta::assert_snapshot!(error(&SMALL.replace("\"One\"", "\"One")));
}

#[test]
fn a_value_of_the_wrong_kind_is_named() {
    insta::assert_snapshot!(error(&SMALL.replace("= 10", "= \"ten\"")));
    insta::assert_snapshot!(error(&SMALL.replace("[[sections]]", "[sections]")));
}

#[test]
fn an_empty_file_is_told_all_that_it_lacks() {
    insta::assert_snapshot!(error(""));
}

#[test]
fn a_section_without_a_question_is_refused() {
    insta::assert_snapshot!(error(&format!("{SMALL}\n[[sections]]\ntitle = \"Two\"\n")));
}

#[test]
fn every_mistake_of_meaning_is_reported_at_once() {
    insta::assert_snapshot!(error(
        r#"title = "  "
time_minutes = 1000

[[sections]]
title = "One"

[[sections.questions]]
id = "a"
text = "First?"
time_minutes = 0

[[sections.questions]]
id = "a"
text = "Second?"
follow_ups_max = -1

[[sections.questions]]
id = "a b"
"#
    ));
}

#[test]
fn a_question_too_long_to_remember_is_refused() {
    let long = "why ".repeat(500);
    let text = error(&SMALL.replace("Why?", &long));
    assert!(text.contains("1999 characters; 1500 is the most"), "{text}");
    assert!(text.lines().all(|l| l.chars().count() < 120), "{text}");
}

#[test]
fn a_control_character_is_refused() {
    let text = error(&SMALL.replace("Why?", "Why\\u0007?"));
    assert!(text.contains("control character"), "{text}");
}

#[test]
fn a_file_of_megabytes_is_refused_before_it_is_read() {
    let text = error(&"#".repeat(PLAN_BYTES_MAX + 1));
    assert!(text.contains("is the most"), "{text}");
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_plan_or_a_described_mistake(cut in 0..SMALL.len(), noise in "\\PC{0,20}") {
        let mut text = SMALL.to_owned();
        text.insert_str(cut, &noise);
        if let Err(e) = Plan::parse(&text, "x") {
            proptest::prop_assert!(e.to_string().starts_with("x:"));
        }
    }
}
