use std::cell::RefCell;

use super::*;
use crate::cuda::unsupported::unsupported_convolutions;

const NOT_SUPPORTED: u32 = 3000;
const BAD_PARAM: u32 = 2000;
const INTERNAL_ERROR: u32 = 4000;
const NO_MEMORY: u32 = 4003;
const EXECUTION_FAILED: u32 = 5000;

/// Where the operands and the result lie.
const PLACES: ([u64; 2], u64) = ([256, 512], 1024);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Listed,
    Prepared(usize),
    Allocated(usize),
    /// An algorithm, by its place on the list, with so much workspace.
    Wrote(usize, usize),
    Added(usize, usize),
}

use Event::{Added, Allocated, Listed, Prepared, Wrote};

/// A library that answers by the book, and remembers what it was asked.
#[derive(Default)]
struct Script {
    description: u32,
    listing: u32,
    /// Each algorithm: its status when it is made ready, the workspace that it wants, whether it repeats.
    lines: Vec<(u32, usize, bool)>,
    /// The statuses, other than success, of calls that write and calls that add.
    writes: HashMap<usize, u32>,
    adds: HashMap<usize, u32>,
    events: RefCell<Vec<Event>>,
}

fn answer<T>(code: u32, value: T) -> std::result::Result<T, u32> {
    if code == 0 { Ok(value) } else { Err(code) }
}

impl Library for Script {
    type Descriptors = ();
    type Candidate = usize;
    /// Its place on the list, and the workspace that it wants.
    type Algorithm = (usize, usize);
    type Status = u32;
    type Memory = usize;

    fn code(status: u32) -> u32 {
        status
    }

    fn describe(&self, _: &Key) -> Answer<Self, ()> {
        answer(self.description, ())
    }

    unsafe fn list(&self, _: &Key, (): &(), operands: [u64; 2]) -> Result<Answer<Self, Vec<Line<Self>>>> {
        assert_eq!(operands, PLACES.0);
        self.events.borrow_mut().push(Listed);
        let line = |(candidate, &(_, _, repeats)): (usize, &(u32, usize, bool))| Line { candidate, repeats };
        Ok(answer(self.listing, self.lines.iter().enumerate().map(line).collect()))
    }

    fn prepare(&self, candidate: usize) -> Answer<Self, ((usize, usize), usize)> {
        self.events.borrow_mut().push(Prepared(candidate));
        let (status, bytes, _) = self.lines[candidate];
        answer(status, ((candidate, bytes), bytes))
    }

    fn allocate(&self, bytes: usize) -> Result<usize> {
        self.events.borrow_mut().push(Allocated(bytes));
        Ok(bytes)
    }

    unsafe fn launch(
        &self,
        key: &Key,
        (algorithm, wanted): &(usize, usize),
        workspace: Option<&usize>,
        values: &Values,
    ) -> Answer<Self, ()> {
        assert_eq!((values.operands, values.out), PLACES);
        let held = workspace.copied().unwrap_or(0);
        assert!(held >= *wanted, "{held} bytes for an algorithm that wants {wanted}");
        assert_eq!(workspace.is_some(), *wanted > 0);
        let (event, answers) = match key.accumulate {
            true => (Added(*algorithm, *wanted), &self.adds),
            false => (Wrote(*algorithm, *wanted), &self.writes),
        };
        self.events.borrow_mut().push(event);
        answer(answers.get(algorithm).copied().unwrap_or(0), ())
    }
}

impl Autotuner<Script> {
    fn run(&mut self, key: Key, accumulate: bool) -> Result<bool> {
        let (operands, out) = PLACES;
        // SAFETY: the script touches no values.
        unsafe { self.convolve(Key { accumulate, ..key }, Values { operands, out }) }
    }

    fn write(&mut self, key: Key) -> Result<bool> {
        self.run(key, false)
    }

    fn add(&mut self, key: Key) -> Result<bool> {
        self.run(key, true)
    }

    /// What has happened since the last call.
    fn all_events(&mut self) -> Vec<Event> {
        self.library.events.take()
    }

    /// The same without what was made ready.
    fn events(&mut self) -> Vec<Event> {
        self.all_events().into_iter().filter(|event| !matches!(event, Prepared(_))).collect()
    }
}

/// Algorithms that work, without workspace, and give the same bits every time.
fn script(algorithms: usize) -> Autotuner<Script> {
    Autotuner::new(Script { lines: vec![(0, 0, true); algorithms], ..Script::default() })
}

fn shape(n: usize) -> ConvProblem {
    let (pair, none) = ((1, 1), (0, 0));
    let [h, w, kh, kw, oh, ow, groups] = [1; 7];
    ConvProblem { n, h, w, c: 3, o: 4, kh, kw, oh, ow, stride: pair, padding: none, dilation: pair, groups }
}

/// Refusals are the whole program's: each test that looks for one takes a batch of its own.
fn key(n: usize) -> Key {
    let (pass, element, settings) = (ConvPass::Forward, Element::F32, CudaSettings::default());
    Key { pass, shape: shape(n), element, accumulate: false, settings }
}

/// The refusals of that batch.
fn refusals(n: usize) -> Vec<String> {
    let start = format!("Forward of {:?} in F32", shape(n));
    unsupported_convolutions().into_iter().filter_map(|line| Some(line.strip_prefix(&start)?.to_string())).collect()
}

/// The message of an error, which must name the shape.
fn message<T: Debug>(result: Result<T>, n: usize) -> String {
    let message = result.expect_err("an error").to_string();
    assert!(message.contains(&format!("{:?}", shape(n))), "{message}");
    message
}

#[test]
fn the_library_is_asked_once_a_shape() -> Result<()> {
    let mut tuner = script(2);
    assert!(tuner.write(key(1))? && tuner.write(key(1))?);
    assert_eq!(tuner.events(), [Listed, Wrote(0, 0), Wrote(0, 0)]);
    // Once more where the result is added.
    assert!(tuner.add(key(1))? && tuner.add(key(1))? && tuner.write(key(1))?);
    assert_eq!(tuner.events(), [Listed, Added(0, 0), Added(0, 0), Wrote(0, 0)]);
    Ok(())
}

#[test]
fn another_batch_pass_dtype_or_setting_is_another_shape() -> Result<()> {
    let mut tuner = script(1);
    let one = key(1);
    let (tf32, search) = (CudaSettings { tf32: true, search: false }, CudaSettings { tf32: false, search: true });
    let others = [
        one,
        key(2),
        Key { pass: ConvPass::BackwardData, ..one },
        Key { pass: ConvPass::BackwardFilter, ..one },
        Key { element: Element::Bf16, ..one },
        Key { element: Element::F16, ..one },
        Key { settings: tf32, ..one },
        Key { settings: search, ..one },
    ];
    for key in others.into_iter().chain(others) {
        assert!(tuner.write(key)?);
    }
    assert_eq!(tuner.events().into_iter().filter(|event| *event == Listed).count(), others.len());
    Ok(())
}

#[test]
fn what_fits_is_tried_in_order_and_what_repeats_first() -> Result<()> {
    let lines = vec![
        (NOT_SUPPORTED, 0, true),
        (0, 100, false),
        (0, MOST_WORKSPACE + 1, true),
        (0, MOST_WORKSPACE, true),
        (0, 50, true),
    ];
    // Each refuses when it is called, so that all are tried.
    let writes = HashMap::from_iter((0..5).map(|algorithm| (algorithm, NOT_SUPPORTED)));
    for (search, order) in [(false, [3, 4, 1]), (true, [1, 3, 4])] {
        let mut tuner = Autotuner::new(Script { lines: lines.clone(), writes: writes.clone(), ..Script::default() });
        assert!(!tuner.write(Key { settings: CudaSettings { search, tf32: false }, ..key(1) })?);
        let events = tuner.events().into_iter();
        let tried: Vec<usize> =
            events.filter_map(|e| if let Wrote(algorithm, _) = e { Some(algorithm) } else { None }).collect();
        assert_eq!(tried, order);
    }
    Ok(())
}

#[test]
fn no_algorithm_is_made_ready_before_its_turn() -> Result<()> {
    let mut tuner = Autotuner::new(Script { lines: vec![(NOT_SUPPORTED, 0, true); 4], ..Script::default() });
    tuner.library.lines[1..].fill((0, 0, true));
    tuner.library.writes.insert(1, NOT_SUPPORTED);
    assert!(tuner.write(key(1))? && tuner.write(key(1))?);
    let before = [Listed, Prepared(0), Prepared(1), Wrote(1, 0)];
    assert_eq!(tuner.all_events(), [before.as_slice(), &[Prepared(2), Wrote(2, 0), Wrote(2, 0)]].concat());
    Ok(())
}

#[test]
fn nothing_is_added_by_what_does_not_repeat_unless_that_was_asked_for() -> Result<()> {
    let lines = vec![(0, 0, false), (0, 0, true)];
    for (search, writer, adder) in [(false, 1, 1), (true, 0, 0)] {
        let mut tuner = Autotuner::new(Script { lines: lines.clone(), ..Script::default() });
        let key = Key { settings: CudaSettings { search, tf32: false }, ..key(1) };
        assert!(tuner.write(key)? && tuner.add(key)?);
        assert_eq!(tuner.events(), [Listed, Wrote(writer, 0), Listed, Added(adder, 0)]);
    }
    let mut tuner = Autotuner::new(Script { lines: lines[..1].to_vec(), ..Script::default() });
    assert!(!tuner.add(key(1))? && tuner.write(key(1))?);
    assert_eq!(tuner.events(), [Listed, Listed, Wrote(0, 0)]);
    Ok(())
}

#[test]
fn the_next_algorithm_takes_the_place_of_one_that_refuses() -> Result<()> {
    for status in [NOT_SUPPORTED, BAD_PARAM, INTERNAL_ERROR, EXECUTION_FAILED] {
        let mut tuner = script(3);
        tuner.library.writes.insert(0, status);
        assert!(tuner.write(key(1))? && tuner.write(key(1))?);
        assert_eq!(tuner.events(), [Listed, Wrote(0, 0), Wrote(1, 0), Wrote(1, 0)]);
        // Other shapes may be another matter.
        assert!(tuner.write(key(2))?);
        assert_eq!(tuner.events(), [Listed, Wrote(0, 0), Wrote(1, 0)]);
    }
    Ok(())
}

#[test]
fn what_cannot_be_added_is_written_and_asked_for_once() -> Result<()> {
    for status in [NOT_SUPPORTED, BAD_PARAM, INTERNAL_ERROR] {
        let mut tuner = script(2);
        tuner.library.adds = HashMap::from([(0, status), (1, NOT_SUPPORTED)]);
        assert!(!tuner.add(key(3))?);
        assert_eq!(tuner.events(), [Listed, Added(0, 0), Added(1, 0)]);
        // The engine computes it into memory of its own then.
        assert!(tuner.write(key(3))?);
        assert!(!tuner.add(key(3))? && tuner.write(key(3))?);
        assert_eq!(tuner.events(), [Listed, Wrote(0, 0), Wrote(0, 0)]);
        // The next algorithm may add.
        let mut tuner = script(2);
        tuner.library.adds.insert(0, status);
        assert!(tuner.add(key(3))? && tuner.add(key(3))?);
        assert_eq!(tuner.events(), [Listed, Added(0, 0), Added(1, 0), Added(1, 0)]);
    }
    assert_eq!(refusals(3), [""; 0]);
    Ok(())
}

#[test]
fn a_sum_that_the_device_broke_off_is_an_error() {
    let mut tuner = script(2);
    tuner.library.adds.insert(0, EXECUTION_FAILED);
    assert!(message(tuner.add(key(1)), 1).contains("5000"));
}

#[test]
fn a_shape_that_all_refuse_is_taken_down() -> Result<()> {
    let mut tuner = script(2);
    tuner.library.writes = HashMap::from([(0, NOT_SUPPORTED), (1, BAD_PARAM)]);
    assert!(!tuner.write(key(4))?);
    assert_eq!(tuner.events(), [Listed, Wrote(0, 0), Wrote(1, 0)]);
    assert_eq!(refusals(4), [" (2000, 3000)"]);
    // Nobody is asked again.
    assert!(!tuner.write(key(4))?);
    assert_eq!(tuner.events(), []);

    // The list may be empty or know no line at all, none may be made ready; an algorithm that wants too much says nothing.
    for (n, listing, lines, said) in [
        (5, 0, vec![], ""),
        (6, 0, vec![(NOT_SUPPORTED, 0, true), (0, MOST_WORKSPACE + 1, true)], " (3000)"),
        (7, NOT_SUPPORTED, vec![(0, 0, true)], " (3000)"),
        (8, 0, vec![(0, MOST_WORKSPACE + 1, true)], ""),
    ] {
        let mut tuner = Autotuner::new(Script { listing, lines, ..Script::default() });
        assert!(!tuner.add(key(n))?);
        assert_eq!(refusals(n), [""; 0]);
        assert!(!tuner.write(key(n))?);
        assert_eq!(refusals(n), [said]);
        assert_eq!(tuner.events(), [Listed, Listed]);
    }

    // So may be what it would be asked about.
    let mut tuner = Autotuner::new(Script { description: NOT_SUPPORTED, ..Script::default() });
    assert!(!tuner.write(key(11))? && !tuner.write(key(11))?);
    assert_eq!(refusals(11), [" (3000)"]);
    Ok(())
}

#[test]
fn a_mistake_is_no_refusal() {
    let called = HashMap::from([(0, BAD_PARAM), (1, BAD_PARAM + 8), (2, BAD_PARAM)]);
    let works = vec![(0, 0, true); 2];
    for mut tuner in [
        Script { description: BAD_PARAM, lines: works.clone(), ..Script::default() },
        Script { listing: BAD_PARAM, lines: works.clone(), ..Script::default() },
        Script { lines: vec![(BAD_PARAM, 0, true); 2], ..Script::default() },
        Script { lines: works, writes: called.clone(), ..Script::default() },
        // That others do not support the shape is no excuse for those that do.
        Script {
            lines: vec![(NOT_SUPPORTED, 0, true), (0, 0, true), (0, 0, true)],
            writes: called,
            ..Script::default()
        },
    ]
    .map(Autotuner::new)
    {
        let message = message(tuner.write(key(9)), 9);
        assert!(message.contains("2000") || message.contains("2008"), "{message}");
    }
    assert_eq!(refusals(9), [""; 0]);
}

#[test]
fn a_failure_is_an_error_where_no_other_algorithm_is_left() -> Result<()> {
    let mut tuner = Autotuner::new(Script { lines: vec![(NO_MEMORY, 0, true)], ..Script::default() });
    assert!(message(tuner.write(key(10)), 10).contains("4003"));
    for order in [[INTERNAL_ERROR, NOT_SUPPORTED], [NOT_SUPPORTED, INTERNAL_ERROR]] {
        let mut tuner = script(2);
        tuner.library.writes = HashMap::from_iter(order.into_iter().enumerate());
        assert!(message(tuner.write(key(10)), 10).contains("4000"));
        assert_eq!(tuner.events(), [Listed, Wrote(0, 0), Wrote(1, 0)]);
        // It may have been for this once.
        tuner.library.writes.clear();
        assert!(tuner.write(key(10))?);
        assert_eq!(tuner.events(), [Listed, Wrote(0, 0)]);
    }
    assert_eq!(refusals(10), [""; 0]);
    Ok(())
}

#[test]
fn one_workspace_serves_all_shapes() -> Result<()> {
    let mut tuner = script(1);
    let mut events = Vec::new();
    for (n, bytes) in [(1, 100), (2, 60), (3, 0), (4, 110), (5, 1000)] {
        tuner.library.lines = vec![(0, bytes, true)];
        assert!(tuner.write(key(n))?);
        events.extend(tuner.events().into_iter().filter(|event| *event != Listed));
    }
    let growing = [Allocated(100), Wrote(0, 100), Wrote(0, 60), Wrote(0, 0)];
    let grown = [Allocated(200), Wrote(0, 110), Allocated(1000), Wrote(0, 1000)];
    assert_eq!(events, [growing, grown].concat());
    // All of it is there for what came before.
    assert!(tuner.write(key(1))? && tuner.write(key(4))?);
    assert_eq!(tuner.events(), [Wrote(0, 100), Wrote(0, 110)]);
    Ok(())
}
