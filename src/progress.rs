//! A run as it goes: a bar an epoch on a terminal, else plain lines, all of it on stderr. For programs, objects on stdout
//! as well.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lmv_runtime::events::{Event, LeftOut, Observer};
use lmv_runtime::metrics::Score;

use crate::context::{Context, Message, MessageFormat, Paint};
use crate::units::{duration, si};
use serde_json::{Map, Value, json};

/// How often a plain line says how an epoch goes.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

/// Draws the events of a run.
pub struct Progress {
    context: Context,
    out: Box<dyn Write>,
    bar: Option<ProgressBar>,
    epochs: u64,
    steps_per_epoch: u64,
    /// When training began here, and the epochs that were done by then.
    began: (Instant, f64),
    epoch: Option<Epoch>,
    last_line: Instant,
    evaluating: bool,
    /// What is evaluated, where it is not the evaluation split.
    folder: Option<String>,
}

/// An epoch under way.
struct Epoch {
    /// From 0.
    index: u64,
    /// When this process had done its first step in it.
    since: Instant,
    /// The steps that this process has done.
    steps: u64,
    /// The samples in them, those of the first step left out.
    samples: usize,
    /// The sum of their losses.
    loss: f64,
}

impl Progress {
    /// Nothing yet.
    pub fn new(context: &Context) -> Self {
        Self::to(context, Box::new(io::stderr()))
    }

    fn to(context: &Context, out: Box<dyn Write>) -> Self {
        Self {
            context: context.clone(),
            out,
            bar: None,
            epochs: 0,
            steps_per_epoch: 0,
            began: (Instant::now(), 0.0),
            epoch: None,
            last_line: Instant::now(),
            evaluating: false,
            folder: None,
        }
    }

    /// Takes the bar away; lines stay.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    /// A line that stays, above the bar.
    fn line(&mut self, line: &str) {
        let out = &mut self.out;
        // Where stderr is closed there is nobody left to tell.
        let mut write = || drop(writeln!(out, "{line}"));
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn step(&mut self, index: u64, step: u64, loss: f64, lr: f64, samples: usize) {
        if self.epoch.as_ref().is_none_or(|epoch| epoch.index != index) || self.evaluating {
            self.evaluating = false;
            let title = format!("epoch {}/{}", index + 1, self.epochs);
            self.start_bar(&title, self.steps_per_epoch);
            // What this process has not done itself must not count as done in no time.
            if let Some(bar) = &self.bar {
                bar.set_position(step.saturating_sub(1));
                bar.reset_eta();
            }
            self.epoch = Some(Epoch { index, since: Instant::now(), steps: 0, samples: 0, loss: 0.0 });
        }
        let Some(epoch) = &mut self.epoch else { return };
        // The first step compiles, allocates and fills caches; the pace is that of the others.
        if epoch.steps == 0 {
            epoch.since = Instant::now();
        } else {
            epoch.samples += samples;
        }
        epoch.steps += 1;
        epoch.loss += loss;
        let (mean, spent) = (epoch.loss / epoch.steps as f64, epoch.since.elapsed().as_secs_f64());
        let mut message = format!("loss {mean:.4}");
        // The less it matters, the further to the right, where a narrow terminal cuts it off.
        if epoch.steps > 1 && spent > 0.0 {
            let left = self.steps_per_epoch.saturating_sub(step) as f64 * spent / (epoch.steps - 1) as f64;
            message += &format!("  {} left  {} samples/s", duration(left), si(epoch.samples as f64 / spent));
        }
        message += &format!("  lr {lr:.2e}");
        if let Some(bar) = &self.bar {
            bar.set_position(step);
            bar.set_message(message);
        } else if self.last_line.elapsed() >= PLAIN_EVERY {
            self.last_line = Instant::now();
            let line = format!("epoch {}/{}  step {step}/{}  {message}", index + 1, self.epochs, self.steps_per_epoch);
            self.line(&line);
        }
    }

    fn evaluated(&mut self, done: usize, total: usize) {
        if !self.evaluating {
            self.evaluating = true;
            let title = self.folder.as_deref().unwrap_or("evaluating").to_owned();
            self.start_bar(&title, total as u64);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        } else if self.last_line.elapsed() >= PLAIN_EVERY {
            self.last_line = Instant::now();
            let line = format!("{}  {done}/{total}", self.folder.as_deref().unwrap_or("evaluating"));
            self.line(&line);
        }
        if done >= total {
            self.evaluating = false;
            self.folder = None;
            self.finish();
        }
    }

    fn start_bar(&mut self, title: &str, length: u64) {
        self.finish();
        // To programs, what goes to stderr is a log.
        if !self.context.stderr_is_terminal || self.context.message_format == MessageFormat::Json {
            return;
        }
        let bar = if self.context.stderr_color { "{bar:16.green/black.bright}" } else { "{bar:16}" };
        let style = ProgressStyle::with_template(&format!("{{prefix}}  {bar}  {{pos}}/{{len}}  {{wide_msg}}"))
            .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("━━─"));
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr()).with_style(style);
        bar.set_prefix(title.to_owned());
        self.bar = Some(bar);
    }

    fn epoch(&mut self, index: u64, loss: f64, metrics: &[Score], best: bool, damaged: (usize, usize)) {
        self.finish();
        self.evaluating = false;
        self.epoch = None;
        let mut line = format!("epoch {}/{}  loss {loss:.4}", index + 1, self.epochs);
        for Score { name, value, reading, .. } in metrics {
            let name = if name == "loss" { "val loss" } else { name };
            line += &format!("  {name} {}", reading.show(*value));
        }
        if best {
            line += &format!("  {}", Paint::Trained.on("best", self.context.stderr_color));
        }
        let (left_out, replaced) = damaged;
        if left_out > 0 {
            line += &format!("  {left_out} damaged left out");
        }
        if replaced > 0 {
            line += &format!("  {replaced} damaged replaced in training");
        }
        let (since, before) = self.began;
        let (done, left) = ((index + 1) as f64 - before, self.epochs.saturating_sub(index + 1));
        if left > 0 && done > 0.0 {
            line += &format!("  {} left in all", duration(since.elapsed().as_secs_f64() / done * left as f64));
        }
        self.last_line = Instant::now();
        self.line(&line);
    }
}

impl Observer for Progress {
    fn event(&mut self, event: Event) {
        match event {
            Event::Note(text) => self.line(&text),
            Event::Warning(text) => {
                let message = Message::warning(text);
                match self.context.message_format {
                    MessageFormat::Json => self.context.tell(&message),
                    MessageFormat::Human => self.line(message.render(self.context.stderr_color).trim_end()),
                }
            }
            Event::Started { epochs, steps_per_epoch, left_out, at } => {
                (self.epochs, self.steps_per_epoch) = (epochs, steps_per_epoch);
                self.began = (Instant::now(), at.0 as f64 + at.1 as f64 / steps_per_epoch.max(1) as f64);
                self.context.event(
                    "started",
                    json!({
                        "epochs": epochs, "steps_per_epoch": steps_per_epoch, "epoch": at.0 + 1, "step": at.1,
                        "left_out": left_out.count,
                    }),
                );
                if left_out.count > 0 {
                    self.line(&without_the_last_batch(left_out));
                }
                if at.0 >= epochs {
                    self.line("this run has done all its epochs; it is measured once more");
                } else if at != (0, 0) {
                    self.line(&format!("going on from epoch {}, step {}", at.0 + 1, at.1));
                }
            }
            Event::Step { epoch, step, loss, lr, samples } => self.step(epoch, step, loss, lr, samples),
            Event::Folder { name, number, count } => {
                self.finish();
                self.evaluating = false;
                self.folder = Some(if count > 1 { format!("{name} ({number}/{count})") } else { name });
            }
            Event::Evaluated { done, total } => self.evaluated(done, total),
            Event::Repeated { what, done, total } => {
                self.folder.get_or_insert_with(|| what.to_owned());
                self.evaluated(done, total);
            }
            Event::Epoch { epoch, loss, metrics, best, left_out, replaced } => {
                self.epoch(epoch, loss, &metrics, best, (left_out, replaced));
                self.context.event(
                    "epoch",
                    json!({
                        "epoch": epoch + 1, "train_loss": loss, "metrics": by_name(&metrics), "best": best,
                        "left_out": left_out, "replaced": replaced,
                    }),
                );
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// What an epoch leaves out, and why.
fn without_the_last_batch(left_out: LeftOut) -> String {
    let LeftOut { count, of, batch, noun } = left_out;
    format!(
        "{count} of the {of} {noun} of an epoch are left out, others in each: the last batch would have {count} of {batch}"
    )
}

/// Metrics as a JSON object.
pub fn by_name(metrics: &[Score]) -> Map<String, Value> {
    metrics.iter().map(|score| (score.name.clone(), json!(score.value))).collect()
}

/// A metric with its unit: `top1 80.70 %`.
pub fn in_words(score: &Score) -> String {
    format!("{} {}", score.name, score.reading.show(score.value))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use lmv_runtime::metrics::Reading;

    use super::*;
    use crate::context::{ColorChoice, Global};

    #[derive(Clone, Default)]
    struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn where_nobody_watches_an_epoch_is_a_line() {
        let mut context = Context::new(&Global { message_format: MessageFormat::Human, color: ColorChoice::Never });
        context.stderr_is_terminal = false;
        let paper = Paper::default();
        let mut progress = Progress::to(&context, Box::new(paper.clone()));
        let left_out = LeftOut { count: 6, of: 30, batch: 8, noun: "images" };
        progress.event(Event::Started { epochs: 2, steps_per_epoch: 3, left_out, at: (1, 1) });
        for step in 2..=3 {
            progress.event(Event::Step { epoch: 1, step, loss: 2.0, lr: 1e-3, samples: 8 });
        }
        progress.event(Event::Warning("one image is damaged".into()));
        progress.event(Event::Evaluated { done: 4, total: 4 });
        progress.event(Event::Epoch {
            epoch: 1,
            loss: 2.0,
            metrics: vec![Score::new("top1", 45.2, Reading::Percent)],
            best: true,
            left_out: 3,
            replaced: 1,
        });
        insta::assert_snapshot!(String::from_utf8_lossy(&paper.0.borrow()), @"
        6 of the 30 images of an epoch are left out, others in each: the last batch would have 6 of 8
        going on from epoch 2, step 1
        warning: one image is damaged
        epoch 2/2  loss 2.0000  top1 45.20 %  best  3 damaged left out  1 damaged replaced in training
        ");
    }
}
