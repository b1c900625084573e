use yardmaster_protocol::{Cause, RequestView};

/// How a command ends; the numbers are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exit(pub(crate) u8);

impl Exit {
    pub(crate) const DONE: Exit = Exit(0);
    pub(crate) const UNEXPECTED: Exit = Exit(1);
    pub(crate) const USAGE: Exit = Exit(2);
    pub(crate) const NOT_AUTHORISED: Exit = Exit(4);
    pub(crate) const CONFLICT: Exit = Exit(5);
    pub(crate) const GATE_RED: Exit = Exit(6);
    pub(crate) const REFUSED: Exit = Exit(7);
    pub(crate) const TAKEN_BACK: Exit = Exit(8);
    pub(crate) const UNREACHABLE: Exit = Exit(9);
    pub(crate) const TIMED_OUT: Exit = Exit(124);
    /// What a shell says of a program that Ctrl-C ended.
    pub(crate) const INTERRUPTED: Exit = Exit(130);

    /// How waiting for a request ends when it has failed.
    pub(crate) fn of_cause(cause: Cause) -> Exit {
        match cause {
            Cause::Conflict => Exit::CONFLICT,
            Cause::GateRed | Cause::GateTimeout => Exit::GATE_RED,
            Cause::BranchMissing
            | Cause::HeadChanged
            | Cause::PushRefused
            | Cause::DependencyFailed
            | Cause::Policy => Exit::REFUSED,
        }
    }

    /// How waiting for a request ends; none while it has not ended.
    pub(crate) fn of_request(view: &RequestView) -> Option<Exit> {
        match view.row.state.as_str() {
            "landed" => Some(Exit::DONE),
            "withdrawn" | "superseded" => Some(Exit::TAKEN_BACK),
            "failed" => Some(view.failure.as_ref().map_or(Exit::REFUSED, |f| Exit::of_cause(f.cause))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_has_the_number_that_the_contract_says() {
        let numbers = [
            (Cause::Conflict, 5),
            (Cause::GateRed, 6),
            (Cause::GateTimeout, 6),
            (Cause::BranchMissing, 7),
            (Cause::HeadChanged, 7),
            (Cause::PushRefused, 7),
            (Cause::DependencyFailed, 7),
            (Cause::Policy, 7),
        ];
        for (cause, number) in numbers {
            assert_eq!(Exit::of_cause(cause), Exit(number), "{cause:?}");
        }
    }
}
