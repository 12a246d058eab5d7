//! The model against Python's, which runs beside the test: the same tokens, logits and pages, each
//! on its own and each on pages that the other computed. Nothing here is a stored result.
//!
//! PYTHON names the interpreter, which has numpy; else `python3`.

use std::io::Write;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use quickstart_runtime::model::{likeliest, Model, Sequence};
use quickstart_runtime::shape::{CONTEXT, PAGE, PAGE_FLOATS, VOCABULARY};
use serde_json::{json, Value};

/// Two orders of adding up the same products differ by rounding only: logits reach about 20, and
/// the same check of the quickstart allows as much.
const TOLERANCE: f32 = 1e-4;

const GENERATE: usize = 64;

/// A page as a view gives it: bytes of somebody else.
struct Found(Vec<f32>);

impl Deref for Found {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

fn quickstart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../quickstart")
}

fn weights() -> String {
    quickstart().join("weights-1.npz").to_str().unwrap().into()
}

/// Text of which every machine with this tree has enough: 2,060 bytes of a file, a few more of
/// another, and less than a page.
fn prompts() -> Vec<Vec<u8>> {
    let read = |name: &str| std::fs::read(quickstart().join(name)).unwrap();
    let (long, other) = (read("steps.py"), read("model.py"));
    vec![long[..2060].to_vec(), other[..700].to_vec(), b"import os\n\nclass ".to_vec()]
}

struct Reference {
    text: Vec<u8>,
    logits: Vec<f32>,
    pages: Vec<f32>,
}

/// Python's answers to these prompts.
fn references(name: &str, prompts: &[Vec<u8>]) -> Vec<Reference> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    let python = std::env::var("PYTHON").unwrap_or("python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference.py");
    let mut process = Command::new(&python)
        .arg(script)
        .arg(weights())
        .arg(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{python}: {error}"));
    let latin_1 = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let requests: Vec<Value> = prompts
        .iter()
        .map(|prompt| json!({"prompt": latin_1(prompt), "generate": GENERATE}))
        .collect();
    process.stdin.take().unwrap().write_all(json!(requests).to_string().as_bytes()).unwrap();
    let done = process.wait_with_output().unwrap();
    assert!(done.status.success(), "{python} needs numpy: {}", done.status);
    let texts: Vec<String> = serde_json::from_slice(&done.stdout).unwrap();
    let floats = |file: String| {
        let bytes = std::fs::read(folder.join(file)).unwrap();
        bytes.chunks_exact(4).map(|four| f32::from_ne_bytes(four.try_into().unwrap())).collect()
    };
    let answer = |(number, text): (usize, &String)| Reference {
        text: text.chars().map(|letter| letter as u8).collect(),
        logits: floats(format!("{number}.logits")),
        pages: floats(format!("{number}.pages")),
    };
    texts.iter().enumerate().map(answer).collect()
}

/// Continues a sequence by the likeliest bytes; returns them and all logits.
fn answer(model: &Model, prompt: &[u8], sequence: &mut Sequence<Found>) -> (Vec<u8>, Vec<f32>) {
    let mut logits = model.prefill(prompt, sequence).unwrap();
    let mut text = vec![likeliest(&logits)];
    while text.len() < GENERATE {
        logits.extend(model.forward(&text[text.len() - 1..], sequence).unwrap());
        text.push(likeliest(&logits[logits.len() - VOCABULARY..]));
    }
    (text, logits)
}

fn largest_difference(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn smallest_margin(logits: &[f32]) -> f32 {
    let margin = |row: &[f32]| {
        let mut row = row.to_vec();
        row.sort_by(f32::total_cmp);
        row[VOCABULARY - 1] - row[VOCABULARY - 2]
    };
    logits.chunks_exact(VOCABULARY).map(margin).fold(f32::INFINITY, f32::min)
}

fn same(what: &str, (text, logits): (Vec<u8>, Vec<f32>), reference: &Reference) {
    let (ours, theirs) = (String::from_utf8_lossy(&text), String::from_utf8_lossy(&reference.text));
    assert_eq!(ours, theirs, "{what}");
    let difference = largest_difference(&logits, &reference.logits);
    let margin = smallest_margin(&reference.logits);
    println!("{what}: largest logit difference {difference:.1e}, smallest margin {margin:.1e}");
    assert!(difference < TOLERANCE, "{what}: logits differ by {difference}");
}

#[test]
fn it_writes_what_python_writes_and_its_pages_hold_the_same_numbers() {
    let (model, prompts) = (Model::load(&weights()).unwrap(), prompts());
    for (prompt, reference) in prompts.iter().zip(references("alone", &prompts)) {
        let what = format!("{} tokens, alone", prompt.len());
        let mut sequence = Sequence::default();
        let begin = std::time::Instant::now();
        let ours = answer(&model, prompt, &mut sequence);
        println!("{what}: {:.2} s", begin.elapsed().as_secs_f64());
        same(&what, ours, &reference);
        let pages: Vec<f32> = sequence.pages()[..prompt.len() / PAGE]
            .iter()
            .flat_map(|page| page.floats().iter().copied())
            .collect();
        let difference = largest_difference(&pages, &reference.pages);
        println!("{what}: pages differ by {difference:.1e}");
        assert!(difference < TOLERANCE, "{what}: pages differ by {difference}");
    }
}

#[test]
fn it_goes_on_behind_pages_of_python() {
    let (model, prompts) = (Model::load(&weights()).unwrap(), prompts());
    for (prompt, reference) in prompts.iter().zip(references("behind", &prompts)) {
        let mut sequence = Sequence::default();
        let full = (prompt.len() - 1) / PAGE;
        for page in reference.pages.chunks_exact(PAGE_FLOATS).take(full) {
            sequence.add_found(Found(page.to_vec()));
        }
        assert_eq!(sequence.length(), full * PAGE);
        let ours = answer(&model, prompt, &mut sequence);
        same(&format!("{} tokens, behind Python's pages", prompt.len()), ours, &reference);
    }
}

#[test]
fn a_prompt_costs_the_same_bits_however_it_is_cut() {
    let model = Model::load(&weights()).unwrap();
    let prompt = &prompts()[1];
    let (mut whole, mut cut) = (Sequence::<Found>::default(), Sequence::<Found>::default());
    let logits = model.prefill(prompt, &mut whole).unwrap();
    let mut last = Vec::new();
    for token in prompt {
        last = model.forward(&[*token], &mut cut).unwrap();
    }
    assert!(logits == last);
    assert!(whole.pages().iter().zip(cut.pages()).all(|(a, b)| a.floats() == b.floats()));
}

#[test]
fn what_does_not_fit_is_refused_with_its_numbers() {
    let model = Model::load(&weights()).unwrap();
    let mut sequence = Sequence::<Found>::default();
    model.prefill(&[b'x'; PAGE + 8], &mut sequence).unwrap();
    let error = model.forward(&[b'x'; PAGE - 7], &mut sequence).unwrap_err().to_string();
    assert_eq!(error, "25 tokens at 40 cross a page of 32 or the context 2304");
    let error = model.prefill(&[b'x'; CONTEXT + 1], &mut sequence).unwrap_err().to_string();
    assert_eq!(error, "1 tokens at 2304 cross a page of 32 or the context 2304");
    let error = Model::load("nowhere.npz").err().unwrap().to_string();
    assert!(error.starts_with("nowhere.npz: "), "{error}");
}
