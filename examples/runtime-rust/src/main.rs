//! One serving process: `quickstart-runtime weights-{version}.npz VERSION ADDRESS`.
//!
//! It says the same lines as `engine.py` of the quickstart: requests come as lines of JSON on
//! standard input, events go as lines of JSON to standard output (`ready`, `computed` after each
//! page, `fenced`, `done`). Whatever it cannot do it says on standard error, and ends.

mod engine;

use std::io::{BufRead, Write};

use base64::Engine as _;
use engine::{Answer, Engine};
use quickstart_runtime::Failure;
use serde_json::{json, Value};

fn main() {
    if let Err(error) = serve() {
        eprintln!("quickstart-runtime: {error}");
        std::process::exit(1);
    }
}

fn serve() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [weights, version, address] = &arguments[..] else {
        return Err("usage: quickstart-runtime weights-{version}.npz VERSION ADDRESS".into());
    };
    let version = version.parse().map_err(|error| format!("version {version}: {error}"))?;
    let store = weft::Store::open(&format!("connect={address}"))?;
    let mut engine = Engine::open(store, weights, Some(version))?;
    say("ready", json!({}))?;
    for line in std::io::stdin().lock().lines() {
        let request = Request::read(&line?)?;
        let mut answered = answer(&engine, &request);
        let fence = answered.as_ref().err().and_then(fence_of);
        if let Some(message) = &fence {
            say("fenced", json!({"message": message}))?;
            engine = engine.reopened()?; // with the weights of the version that holds now
            answered = answer(&engine, &request);
        }
        done(&answered?, engine.version(), fence.is_some())?;
    }
    Ok(())
}

struct Request {
    prompt: Vec<u8>,
    generate: usize,
    share: bool,
}

impl Request {
    /// {"prompt": latin-1 text, "generate": bytes, "share": whether to use Weft}
    fn read(line: &str) -> Result<Request, Failure> {
        let value: Value = serde_json::from_str(line)?;
        let prompt = value["prompt"].as_str().ok_or("a request has no prompt")?;
        let byte = |letter| u8::try_from(letter).map_err(|_| format!("{letter:?} is no byte"));
        let prompt = prompt.chars().map(byte).collect::<Result<Vec<u8>, _>>()?;
        if prompt.is_empty() {
            return Err("a request's prompt is empty".into());
        }
        let generate = value["generate"].as_u64().ok_or("a request does not say how many bytes")?;
        let share = value["share"].as_bool().ok_or("a request does not say whether to share")?;
        Ok(Request { prompt, generate: usize::try_from(generate)?, share })
    }
}

fn answer(engine: &Engine, request: &Request) -> Result<Answer, Failure> {
    engine.answer(&request.prompt, request.generate, request.share, |pages, of| {
        // Who no longer listens has closed the input as well.
        let _ = say("computed", json!({"pages": pages, "of": of}));
    })
}

/// The library's words, where an error says that the namespace has advanced past this version.
fn fence_of(error: &Failure) -> Option<String> {
    match error.downcast_ref() {
        Some(weft::Error::Fenced(message)) => Some(message.clone()),
        _ => None,
    }
}

fn done(answer: &Answer, version: u64, fenced: bool) -> Result<(), Failure> {
    let logits = bytemuck::cast_slice::<f32, u8>(&answer.logits);
    let counts = &answer.counts;
    say(
        "done",
        json!({
            "text": answer.text.iter().map(|byte| char::from(*byte)).collect::<String>(),
            "logits": base64::engine::general_purpose::STANDARD.encode(logits),
            "first_token_s": answer.first_token_s,
            "total_s": answer.total_s,
            "version": version,
            "reused": counts.reused,
            "prefilled": counts.prefilled,
            "bytes_copied": counts.bytes_copied,
            "bytes_in_place": counts.bytes_in_place,
            "misses": counts.misses,
            "fenced": fenced,
        }),
    )
}

fn say(event: &str, mut fields: Value) -> Result<(), Failure> {
    fields["event"] = event.into();
    let mut out = std::io::stdout().lock();
    writeln!(out, "{fields}")?;
    Ok(out.flush()?)
}
