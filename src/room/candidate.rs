//! Who in the room is the candidate: a person who was named or came first, never an agent, an egress or a recorder.

/// What a participant is, as LiveKit tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A browser or an app: a person.
    Person,
    /// A telephone.
    Sip,
    /// A messenger's or a telephony provider's call.
    Connector,
    /// Anything that is not a person: agents, egress, ingress, bridges, and whatever is marked as a recorder.
    Machine,
}

/// Picks the candidate and stays with them.
#[derive(Debug, Clone)]
pub struct CandidateChooser {
    named: Option<String>,
    chosen: Option<String>,
}

impl CandidateChooser {
    /// With the identity that the job names, if it names one.
    pub fn new(named: Option<String>) -> Self {
        Self {
            named,
            chosen: None,
        }
    }

    /// Is this participant the candidate? The first who may be is chosen, and from then on it is they alone,
    /// also when they leave and come back.
    pub fn admits(&mut self, identity: &str, kind: Kind) -> bool {
        if kind == Kind::Machine {
            return false;
        }
        let wanted = self.named.as_deref().or(self.chosen.as_deref());
        if wanted.is_some_and(|wanted| wanted != identity) {
            return false;
        }
        if self.chosen.is_none() {
            self.chosen = Some(identity.to_owned());
        }
        true
    }

    /// The candidate's identity, once they were here.
    pub fn chosen(&self) -> Option<&str> {
        self.chosen.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_person_is_the_candidate_and_stays_so() {
        let mut chooser = CandidateChooser::new(None);
        assert!(!chooser.admits("egress-1", Kind::Machine));
        assert!(chooser.admits("ada", Kind::Person));
        assert!(!chooser.admits("bob", Kind::Person));
        assert!(chooser.admits("ada", Kind::Person));
        assert_eq!(chooser.chosen(), Some("ada"));
    }

    #[test]
    fn a_caller_by_telephone_or_messenger_may_be_the_candidate() {
        assert!(CandidateChooser::new(None).admits("+49", Kind::Sip));
        assert!(CandidateChooser::new(None).admits("wa", Kind::Connector));
    }

    #[test]
    fn where_one_is_named_it_is_nobody_else() {
        let mut chooser = CandidateChooser::new(Some("ada".into()));
        assert!(!chooser.admits("bob", Kind::Person));
        assert!(!chooser.admits("ada", Kind::Machine));
        assert!(chooser.admits("ada", Kind::Person));
    }
}
