//! Asks engines one after the other, or beside each other when one is slow, until the first has something.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::{Blame, EngineError, Engines, PATIENCE};

/// Why an engine that is still at work counts as failing.
#[derive(Debug, thiserror::Error)]
#[error("nothing came of it within {} ms; look at its load", PATIENCE.as_millis())]
pub(super) struct Slow;

/// What `ask` yields for the first engine of `order` that succeeds, and its index. Failures are counted here, the
/// success is left to the caller, who may see more of it. Dropping the future drops all requests under way.
pub(super) async fn race<E, T, X, F>(
    engines: &Engines<E>,
    order: &[usize],
    mut ask: impl FnMut(usize) -> F,
) -> Result<(usize, T), X>
where
    E: ?Sized,
    X: EngineError,
    F: Future<Output = Result<T, X>>,
{
    let mut at_work = FuturesUnordered::new();
    let mut at_work_indices = Vec::new();
    let mut to_ask = order.iter().copied().peekable();
    let mut impatient_at = Instant::now();
    // The preferred engine's failure is the one to be repaired, so it is the one that is told.
    let mut failure: Option<(usize, X)> = None;
    loop {
        // Engines that are set aside are a last resort and not asked out of impatience.
        let may_hurry = to_ask.peek().is_some_and(|&next| engines.closed(next));
        let hurries = may_hurry && impatient_at <= Instant::now();
        if (at_work.is_empty() || hurries)
            && let Some(index) = to_ask.next()
        {
            let asked = ask(index);
            at_work.push(async move { (index, asked.await) });
            at_work_indices.push(index);
            impatient_at = Instant::now() + PATIENCE;
            continue;
        }
        let ended = tokio::select! {
            ended = at_work.next() => ended,
            () = sleep_until(impatient_at), if may_hurry => continue,
        };
        let Some((index, outcome)) = ended else {
            return Err(failure.map_or_else(X::no_engine, |(_, error)| error));
        };
        let error = match outcome {
            Ok(value) => {
                // Those that were asked before it had their time; those after it did not.
                for slow in at_work_indices
                    .into_iter()
                    .take_while(|&slow| slow != index)
                {
                    engines.failed(slow, &Slow, &Blame::Engine);
                }
                return Ok((index, value));
            }
            Err(error) => error,
        };
        at_work_indices.retain(|&working| working != index);
        let blame = error.blame();
        engines.failed(index, &error, &blame);
        if matches!(blame, Blame::Request) {
            return Err(error);
        }
        if at_work.is_empty()
            && let Some(&next) = to_ask.peek()
        {
            engines.switched(index, next, &error);
        }
        if failure.as_ref().is_none_or(|(worst, _)| index < *worst) {
            failure = Some((index, error));
        }
    }
}
