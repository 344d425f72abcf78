//! Bulk calls: cut to what the server takes, and halved where one item spoils a call.

use super::client::Rucio;
use super::error::RucioError;
use super::exception::Refusal;

/// Items that are refused one by one, after which a call is given up: then it is not about items.
const REFUSED_MAX: usize = 64;

/// An item that the server does not take, by its place in what was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefusedItem {
    pub(super) index: usize,
    pub(super) refusal: Refusal,
}

impl Rucio {
    /// Sends items in calls of at most as many as configured. A call that is refused for what may be
    /// one item's fault is halved until that item is alone. Returns those that were refused.
    ///
    /// # Errors
    ///
    /// Where a call fails for another reason, or too many items are refused: some calls may be done.
    pub(super) fn in_bulk<T>(
        &self,
        items: &[T],
        mut send: impl FnMut(&[T]) -> Result<(), RucioError>,
    ) -> Result<Vec<RefusedItem>, RucioError> {
        let most = self.config().bulk;
        let mut refused = Vec::new();
        for (number, chunk) in items.chunks(most).enumerate() {
            bisect(chunk, number * most, &mut send, &mut refused)?;
        }
        Ok(refused)
    }
}

fn bisect<T>(
    items: &[T],
    first: usize,
    send: &mut impl FnMut(&[T]) -> Result<(), RucioError>,
    refused: &mut Vec<RefusedItem>,
) -> Result<(), RucioError> {
    let error = match send(items) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let RucioError::Refused { request, refusal } = error else {
        return Err(error);
    };
    if !refusal.exception.may_be_of_one_item() || refused.len() >= REFUSED_MAX {
        return Err(RucioError::Refused { request, refusal });
    }
    if items.len() == 1 {
        refused.push(RefusedItem {
            index: first,
            refusal: *refusal,
        });
        return Ok(());
    }
    let (left, right) = items.split_at(items.len() / 2);
    bisect(left, first, send, refused)?;
    bisect(right, first + left.len(), send, refused)
}

#[cfg(test)]
mod tests {
    use super::super::exception::Exception;
    use super::*;

    fn refusal(exception: Exception) -> RucioError {
        RucioError::Refused {
            request: "POST /replicas".to_owned(),
            refusal: Box::new(Refusal {
                status: 500,
                exception,
                message: String::new(),
            }),
        }
    }

    /// Sends the numbers below `count` to a server that refuses calls that hold one of `bad`.
    fn send(count: u32, bad: &[u32]) -> (Vec<usize>, Vec<u32>, u32, bool) {
        let items: Vec<u32> = (0..count).collect();
        let (mut done, mut calls, mut refused) = (Vec::new(), 0, Vec::new());
        let sent = bisect(
            &items,
            0,
            &mut |items| {
                calls += 1;
                if items.iter().any(|item| bad.contains(item)) {
                    return Err(refusal(Exception::InvalidObject));
                }
                done.extend_from_slice(items);
                Ok(())
            },
            &mut refused,
        );
        let refused = refused.iter().map(|item| item.index).collect();
        (refused, done, calls, sent.is_ok())
    }

    #[test]
    fn one_bad_item_of_a_thousand_costs_its_own_place_alone() {
        let (refused, done, calls, whole) = send(1000, &[617]);
        assert_eq!(refused, [617]);
        assert!(whole && done.len() == 999 && calls <= 21, "{calls}");
    }

    #[test]
    fn a_call_of_which_nothing_is_taken_is_given_up() {
        let all: Vec<u32> = (0..1000).collect();
        let (refused, done, calls, whole) = send(1000, &all);
        assert!(!whole && done.is_empty());
        assert!(refused.len() == REFUSED_MAX && calls < 200, "{calls}");
    }

    #[test]
    fn what_is_about_no_item_is_not_sent_again() {
        let mut calls = 0;
        let sent = bisect(
            &[1, 2, 3],
            0,
            &mut |_| {
                calls += 1;
                Err(refusal(Exception::AccessDenied))
            },
            &mut Vec::new(),
        );
        assert!(sent.is_err() && calls == 1);
    }
}
