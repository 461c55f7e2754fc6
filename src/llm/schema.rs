//! The chat request and the shape of its answer, in which the decision comes first.
//!
//! Servers write the keys of a structured answer in the order of the schema's properties. These are structs and not
//! `serde_json` maps, which sort their keys.

use serde::Serialize;

/// Tokens of a reply, at most; its words are bounded to a third of that.
const TOKENS_MAX: u32 = 400;

#[derive(Serialize)]
pub(super) struct ChatRequest<'a> {
    pub(super) model: &'a str,
    pub(super) messages: [Message<'a>; 2],
    max_completion_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<ResponseFormat>,
}

#[derive(Serialize)]
pub(super) struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> ChatRequest<'a> {
    pub(super) fn new(model: &'a str, system: &'a str, user: &'a str, with_schema: bool) -> Self {
        let message = |role, content| Message { role, content };
        Self {
            model,
            messages: [message("system", system), message("user", user)],
            max_completion_tokens: TOKENS_MAX,
            stream: false,
            response_format: with_schema.then(ResponseFormat::reply),
        }
    }
}

#[derive(Serialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: &'static str,
    json_schema: JsonSchema,
}

#[derive(Serialize)]
struct JsonSchema {
    name: &'static str,
    strict: bool,
    schema: Object,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(rename = "type")]
    kind: &'static str,
    properties: Properties,
    required: [&'static str; 3],
    additional_properties: bool,
}

#[derive(Serialize)]
struct Properties {
    decision: Decision,
    acknowledgement: Text<&'static str>,
    follow_up: Text<[&'static str; 2]>,
}

#[derive(Serialize)]
struct Decision {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "enum")]
    one_of: [&'static str; 2],
}

#[derive(Serialize)]
struct Text<T> {
    #[serde(rename = "type")]
    kind: T,
}

impl ResponseFormat {
    fn reply() -> Self {
        let schema = Object {
            kind: "object",
            properties: Properties {
                decision: Decision {
                    kind: "string",
                    one_of: ["follow_up", "move_on"],
                },
                acknowledgement: Text { kind: "string" },
                follow_up: Text {
                    kind: ["string", "null"],
                },
            },
            required: ["decision", "acknowledgement", "follow_up"],
            additional_properties: false,
        };
        Self {
            kind: "json_schema",
            json_schema: JsonSchema {
                name: "interviewer_reply",
                strict: true,
                schema,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_comes_first_and_everything_is_required() {
        let text = serde_json::to_string(&ChatRequest::new("m", "s", "u", true)).unwrap();
        let at = |key: &str| text.find(&format!("\"{key}\":{{")).unwrap();
        assert!(at("decision") < at("acknowledgement"));
        assert!(at("acknowledgement") < at("follow_up"));
        let format: serde_json::Value = serde_json::from_str(&text).unwrap();
        let schema = &format["response_format"]["json_schema"];
        assert_eq!(schema["strict"], true);
        assert_eq!(schema["schema"]["additionalProperties"], false);
        assert_eq!(
            schema["schema"]["required"].as_array().unwrap().len(),
            schema["schema"]["properties"].as_object().unwrap().len()
        );
    }

    #[test]
    fn without_a_schema_nothing_is_said_of_the_format() {
        let text = serde_json::to_string(&ChatRequest::new("m", "s", "u", false)).unwrap();
        assert!(!text.contains("response_format"), "{text}");
    }
}
