//! Every order of the writer's and a scan's calls, with the world stopped after each of them.
//!
//! The table in `docs/queue.md` allows: an acknowledged message is whole and in place; a message
//! that is not acknowledged is whole, absent, or (after a loss of power only) in `corrupt/`.

use super::{id, incoming, queue, store, submit};
use crate::files::memory::Survives;
use crate::store::{Examined, Place};

/// More calls than either actor makes.
const CALLS_MAX: usize = 10;

#[derive(Debug, PartialEq, Clone, Copy)]
enum Loss {
    Kill,
    Power(Survives, bool),
}

/// Runs one order and looks at what is left after each kind of crash; `false`: the order is the
/// twin of another one.
fn run(order: &[usize], losses: &[Loss]) -> bool {
    let disk = queue();
    let door = incoming(&disk);
    let manager = store(&disk);
    disk.turns(order.to_vec());
    let (acknowledged, removed) = std::thread::scope(|scope| {
        let scan = scope.spawn(|| {
            let _acting = disk.act(1);
            matches!(manager.examine(id()), Ok(Examined::Removed))
        });
        let acting = disk.act(0);
        let acknowledged = submit(&door, b"content").is_ok();
        drop(acting);
        (acknowledged, scan.join().unwrap())
    });
    if disk.twin() {
        return false;
    }
    drop(manager);
    for &loss in losses {
        let disk = disk.copy();
        match loss {
            Loss::Kill => disk.restart(),
            Loss::Power(data, names) => disk.power_loss(data, names),
        }
        let next = store(&disk);
        let found = next
            .read(id(), Place::Incoming)
            .and_then(|message| next.check(&message));
        if acknowledged {
            // Above all: a scan never takes an acknowledged message away.
            found
                .unwrap_or_else(|error| panic!("{order:?} {loss:?}: {error} (removed: {removed})"));
            continue;
        }
        match next.examine(id()).unwrap() {
            Examined::Missing | Examined::Removed => {}
            Examined::Sealed(message) => {
                if next.check(&message).is_err() {
                    assert_ne!(loss, Loss::Kill, "{order:?}");
                }
            }
            // Only a loss of power can leave a torn header.
            Examined::Condemned(_) => assert_ne!(loss, Loss::Kill, "{order:?}"),
            Examined::Writing => panic!("{order:?} {loss:?}: nobody writes"),
        }
    }
    true
}

fn explore(order: &mut Vec<usize>, left: [usize; 2], runs: &mut usize, losses: &[Loss]) {
    if !run(order, losses) {
        return;
    }
    *runs += 1;
    for actor in 0..2 {
        if left[actor] > 0 {
            let mut left = left;
            left[actor] -= 1;
            order.push(actor);
            explore(order, left, runs, losses);
            order.pop();
        }
    }
}

#[test]
fn writer_scan_and_a_crash_in_every_order() {
    let mut runs = 0;
    let losses = [
        Loss::Kill,
        Loss::Power(Survives::Nothing, false),
        Loss::Power(Survives::Everything, true),
    ];
    explore(&mut Vec::new(), [CALLS_MAX; 2], &mut runs, &losses);
    assert!(runs > 1_000, "{runs}");
}
