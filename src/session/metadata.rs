//! What whoever makes a job may say about the interview.

use serde::Deserialize;

/// What a job's metadata may say: a JSON object with these keys, or the plan's name alone.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct JobMetadata {
    pub(super) plan: Option<String>,
    pub(super) candidate: Option<String>,
}

impl JobMetadata {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        if text.starts_with('{') {
            return serde_json::from_str(text).map_err(|e| {
                format!("the job's metadata is not what it should be ({e}); it may be {{\"plan\": \"NAME\", \"candidate\": \"IDENTITY\"}}")
            });
        }
        Ok(Self {
            plan: Some(text.to_owned()),
            candidate: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_names_a_plan_in_json_or_by_itself() {
        assert_eq!(JobMetadata::parse(""), Ok(JobMetadata::default()));
        assert_eq!(
            JobMetadata::parse(" rust-senior "),
            Ok(JobMetadata {
                plan: Some("rust-senior".into()),
                candidate: None
            })
        );
        let both = JobMetadata {
            plan: Some("a".into()),
            candidate: Some("ada".into()),
        };
        assert_eq!(
            JobMetadata::parse(r#"{"plan":"a","candidate":"ada"}"#),
            Ok(both)
        );
    }

    #[test]
    fn metadata_with_an_unknown_key_is_named() {
        let error = JobMetadata::parse(r#"{"paln":"a"}"#).unwrap_err();
        assert!(
            error.contains("paln") && error.contains("\"plan\""),
            "{error}"
        );
    }
}
