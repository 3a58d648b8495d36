//! Whether a step of training has room in memory, told before it is too late to tell.

use lmv_compiler::Experiment;
use lmv_compiler::passes::peak::{Peak, peak};
use lmv_runtime::device::{self, DeviceChoice};
use lmv_runtime::error::Failure;
use lmv_runtime::events::{Event, Observer};

use crate::units::bytes;

/// By how much a step may take less than is reckoned: the reckoning is within 15 % of what was measured.
const SURELY: f64 = 0.85;

/// Compares what a step takes with what is free, where the system tells.
///
/// # Errors
/// It surely takes more. Where it may, the observer is warned.
pub fn check(
    experiment: &Experiment,
    device: DeviceChoice,
    micro_batch: Option<usize>,
    observer: &mut dyn Observer,
) -> Result<(), Failure> {
    // What a GPU has free is not known here.
    let (Some(recipe), DeviceChoice::Cpu, Some(free)) = (&experiment.train, device, free()) else { return Ok(()) };
    let at_a_time = micro_batch.unwrap_or(recipe.batch).min(recipe.batch);
    let plan = device::passes(device).plan(&experiment.graph);
    let least = least(peak(&plan, Some(recipe), at_a_time), &plan);
    let over_batch = plan.nodes.iter().any(|node| node.layer == "batch_norm");
    let message = too_much(least, at_a_time, free, over_batch);
    if SURELY * least.bytes() > free {
        return Err(message);
    }
    if least.bytes() > free {
        let lines = [&[message.what], &message.notes[..], &message.help.into_iter().collect::<Vec<_>>()].concat();
        observer.event(Event::Warning(lines.join("; ")));
    }
    Ok(())
}

/// The same where frozen weights are in half precision, as their files may have them.
fn least(peak: Peak, plan: &lmv_compiler::plan::Plan) -> Peak {
    let frozen = plan.tensors.iter().filter(|tensor| tensor.frozen).filter_map(|tensor| tensor.shape.count());
    Peak { standing: peak.standing - 2.0 * frozen.map(|count| count as f64).sum::<f64>(), ..peak }
}

/// What to say of a step of so many samples at a time where only `free` bytes are left, with three ways out.
fn too_much(step: Peak, at_a_time: usize, free: f64, over_batch: bool) -> Failure {
    let failure = Failure::new(format!(
        "a step of training holds {} at one time, and {} are free",
        bytes(step.bytes()),
        bytes(free)
    ))
    .note(format!(
        "{} are for the model and the optimizer, {} for {at_a_time} samples at a time",
        bytes(step.standing),
        bytes(step.passing)
    ));
    let each = step.passing / at_a_time.max(1) as f64;
    // A cast of what is negative or not a number gives zero.
    let room = ((SURELY * free - step.standing) / each).floor() as usize;
    match room.min(at_a_time.saturating_sub(1)) {
        0 => failure.help(
            "there is no room for one sample: make the model smaller, end other programs, or take a machine with more memory",
        ),
        samples => failure.help(format!(
            "`--micro-batch {samples}` takes the batch in parts {}; `--batch {samples}` takes smaller ones; or end other programs, or take a machine with more memory",
            match over_batch {
                true => "and is the same step but for the norms over the batch, which see a part each",
                false => "and is the same step",
            }
        )),
    }
}

/// Bytes that this process can still have, as Linux tells: what is available with the swap, and within its control group.
fn free() -> Option<f64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
    };
    let whole = 1024.0 * (kib("MemAvailable:")? + kib("SwapFree:").unwrap_or(0.0));
    let of_group = |name: &str| {
        let text = std::fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse::<f64>().ok()
    };
    // A group without a limit says `max`, which is no number.
    let within = of_group("memory.max").zip(of_group("memory.current")).map(|(most, now)| most - now);
    Some(within.map_or(whole, |within| whole.min(within.max(0.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1024.0 * 1024.0;

    #[test]
    fn three_ways_out_with_a_number_that_fits() {
        let step = Peak { standing: 100.0 * MIB, passing: 640.0 * MIB, unknown: false };
        let failure = too_much(step, 64, 400.0 * MIB, false);
        assert_eq!(
            failure.to_string(),
            "a step of training holds 740 MiB at one time, and 400 MiB are free\n  = 100 MiB are for the model and the \
             optimizer, 640 MiB for 64 samples at a time\nhelp: `--micro-batch 24` takes the batch in parts and is the \
             same step; `--batch 24` takes smaller ones; or end other programs, or take a machine with more memory"
        );
        // 24 of them take 100 + 240 of 0.85 · 400.
        assert!(too_much(step, 64, 400.0 * MIB, true).to_string().contains("but for the norms over the batch"));
        assert!(too_much(step, 64, 90.0 * MIB, false).to_string().contains("there is no room for one sample"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_what_is_free() {
        assert!(free().is_some_and(|free| free > MIB));
    }
}
