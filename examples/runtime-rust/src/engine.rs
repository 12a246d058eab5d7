//! A model of one version, its paged KV cache, and Weft between it and the other engines.
//!
//! What any runtime does to use Weft stands in `Engine::attach`: key the prompt's full pages, read
//! in place what is there, claim what is not, compute it and save it page by page.
//!
//! Invariants: a page found in Weft is only read, and stays whole while the sequence holds its
//! view; the last token is always computed here, because Weft keeps keys and values, not logits; a
//! page is saved once it is complete.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;
use std::time::Instant;

use quickstart_runtime::model::{likeliest, Model, Sequence};
use quickstart_runtime::shape::{LAYERS, PAGE, PAGE_BYTES, PAGE_SHAPE, VOCABULARY};
use quickstart_runtime::Failure;
use weft::{Key, Namespace, Store, Views};

const NAMESPACE: &str = "quickstart/bytes";

/// How long a process that claimed pages may take for them before another gets the claim, seconds.
const CLAIM_S: u32 = 60;

/// What the bytes of a block mean; Weft stores it and refuses an engine that thinks otherwise.
fn layout() -> String {
    let sizes = PAGE_SHAPE.map(|size| size.to_string()).join("x");
    format!(
        "model=quickstart,dtype=float32,layout=layer/kv/head/token/size:{sizes},\
         block_tokens={PAGE},layers={LAYERS},part_bytes={PAGE_BYTES}"
    )
}

/// A block in Weft's memory, held with those that were found with it.
struct Block<'a> {
    views: Rc<Views<'a>>,
    index: usize,
}

impl Deref for Block<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.views[self.index]
    }
}

/// Of one request: tokens reused and prefilled, bytes copied to Weft and read in its memory, and
/// how often the next page was not there, by reason.
#[derive(Default)]
pub struct Counts {
    pub reused: usize,
    pub prefilled: usize,
    pub bytes_copied: usize,
    pub bytes_in_place: usize,
    pub misses: BTreeMap<String, usize>,
}

/// What an engine wrote behind a prompt, and what it took.
pub struct Answer {
    pub text: Vec<u8>,
    /// Of each token of the text: [generate, VOCABULARY].
    pub logits: Vec<f32>,
    pub first_token_s: f64,
    pub total_s: f64,
    pub counts: Counts,
}

pub struct Engine {
    store: Store,
    weights: String,
    space: Namespace,
    model: Model,
}

impl Engine {
    /// `weights` has {version} in it; `version` None: the one that the namespace allows now, its
    /// floor.
    pub fn open(store: Store, weights: &str, version: Option<u64>) -> Result<Engine, Failure> {
        let at = version.map_or(String::new(), |version| format!(",version={version}"));
        let space = store.namespace(NAMESPACE, &(layout() + &at))?;
        let path = weights.replace("{version}", &space.info().version.to_string());
        Ok(Engine { store, weights: weights.into(), space, model: Model::load(&path)? })
    }

    /// The same engine with the weights of the namespace's floor.
    pub fn reopened(&self) -> Result<Engine, Failure> {
        Engine::open(self.store.clone(), &self.weights, None)
    }

    pub fn version(&self) -> u64 {
        self.space.info().version
    }

    /// Continues a prompt by the likeliest bytes. `computed` hears of each page that is saved: how
    /// many are there, of how many.
    pub fn answer(
        &self,
        prompt: &[u8],
        generate: usize,
        share: bool,
        computed: impl Fn(usize, usize),
    ) -> Result<Answer, Failure> {
        let begin = Instant::now();
        let (mut sequence, mut counts) = (Sequence::default(), Counts::default());
        if share {
            self.attach(prompt, &mut sequence, &mut counts, computed)?;
        }
        counts.prefilled += prompt.len() - sequence.length();
        let mut logits = self.model.prefill(prompt, &mut sequence)?;
        let mut text = vec![likeliest(&logits)];
        let first_token_s = begin.elapsed().as_secs_f64();
        while text.len() < generate {
            logits.extend(self.model.forward(&text[text.len() - 1..], &mut sequence)?);
            text.push(likeliest(&logits[logits.len() - VOCABULARY..]));
        }
        let total_s = begin.elapsed().as_secs_f64();
        Ok(Answer { text, logits, first_token_s, total_s, counts })
    }

    /// Brings all full pages of the prompt but the last token's into the sequence.
    ///
    /// Of the processes that ask for one prompt at the same time, one computes and the others wait
    /// for its pages; if it dies, one of them gets its claim and goes on behind the last page that
    /// it saved.
    fn attach<'a>(
        &'a self,
        prompt: &[u8],
        sequence: &mut Sequence<Block<'a>>,
        counts: &mut Counts,
        computed: impl Fn(usize, usize),
    ) -> Result<(), Failure> {
        let tokens: Vec<u32> = prompt.iter().map(|byte| u32::from(*byte)).collect();
        let keys = weft::keys("", &tokens, PAGE as u32)?;
        let keys = &keys[..(prompt.len() - 1) / PAGE];
        while sequence.pages().len() < keys.len() {
            self.take(keys, sequence, counts)?;
            let found = sequence.pages().len();
            if found == keys.len() {
                break;
            }
            if let Some(reason) = self.space.find(&keys[found..]).run()?.reason {
                *counts.misses.entry(reason.to_string()).or_default() += 1;
            }
            let claim = self.space.claim(&keys[found..]).ttl_s(CLAIM_S).timeout_ms(2000 * CLAIM_S);
            let Some(claim) = claim.run()? else {
                continue; // whoever computed them has published them all
            };
            if claim.first > 0 {
                self.take(keys, sequence, counts)?; // some came between the look and the claim
            }
            if sequence.pages().len() == found + claim.first {
                self.compute(prompt, keys, sequence, counts, &computed)?;
            }
        }
        Ok(())
    }

    /// Takes the pages that are there, in place: no byte is copied.
    fn take<'a>(
        &'a self,
        keys: &[Key],
        sequence: &mut Sequence<Block<'a>>,
        counts: &mut Counts,
    ) -> Result<(), Failure> {
        let views = Rc::new(self.space.view_list(&keys[sequence.pages().len()..], 0)?);
        for index in 0..views.len() {
            sequence.add_found(Block { views: views.clone(), index });
        }
        counts.reused += views.len() * PAGE;
        counts.bytes_in_place += views.len() * PAGE_BYTES;
        Ok(())
    }

    /// Computes the rest of the full pages and saves each when it is complete.
    fn compute(
        &self,
        prompt: &[u8],
        keys: &[Key],
        sequence: &mut Sequence<Block>,
        counts: &mut Counts,
        computed: impl Fn(usize, usize),
    ) -> Result<(), Failure> {
        for page in sequence.pages().len()..keys.len() {
            self.model.forward(&prompt[page * PAGE..][..PAGE], sequence)?;
            counts.prefilled += PAGE;
            let bytes: &[u8] = bytemuck::cast_slice(sequence.pages()[page].floats());
            if self.space.save(keys[page], bytes).run()? {
                counts.bytes_copied += PAGE_BYTES;
            }
            computed(page + 1, keys.len());
        }
        Ok(())
    }
}
