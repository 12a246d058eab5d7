//! Reads the weights from the file that the Python side wrote: an .npz, which is a zip of .npy
//! files, here of little-endian float16 in C order. Anything else in it is refused by name.

use std::collections::HashMap;
use std::io::Read;

use crate::Failure;

/// The arrays of one file, each taken once.
pub struct Weights {
    path: String,
    arrays: HashMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Weights {
    pub fn read(path: &str) -> Result<Weights, Failure> {
        let file = std::fs::File::open(path).map_err(|error| format!("{path}: {error}"))?;
        let mut archive = zip::ZipArchive::new(file).map_err(|error| format!("{path}: {error}"))?;
        let mut arrays = HashMap::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            let name = entry.name().trim_end_matches(".npy").to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            let array = npy(&bytes).map_err(|what| format!("{path}: {name}: {what}"))?;
            arrays.insert(name, array);
        }
        let path = path.to_string();
        Ok(Weights { path, arrays })
    }

    /// Takes an array, which must have this shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Failure> {
        let path = &self.path;
        let (found, values) =
            self.arrays.remove(name).ok_or_else(|| format!("{path}: there is no array {name}"))?;
        if found != shape {
            return Err(format!("{path}: {name} is {found:?}, not {shape:?}").into());
        }
        Ok(values)
    }
}

/// Parses one .npy: ten bytes, a Python dictionary as text, the elements.
fn npy(bytes: &[u8]) -> Result<(Vec<usize>, Vec<f32>), String> {
    if bytes.len() < 10 || &bytes[..8] != b"\x93NUMPY\x01\x00" {
        return Err("not an .npy of version 1.0".into());
    }
    let begin = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let head = bytes.get(10..begin).ok_or("ends inside its head")?;
    let head = String::from_utf8_lossy(head);
    if !head.contains("'descr': '<f2'") || !head.contains("'fortran_order': False") {
        return Err(format!("not float16 in C order: {head}"));
    }
    let sizes = head.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')'));
    let (sizes, _) = sizes.ok_or_else(|| format!("no shape: {head}"))?;
    let sizes = sizes.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape: Vec<usize> = sizes
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{error}: {head}"))?;
    let elements = &bytes[begin..];
    if elements.len() != 2 * shape.iter().product::<usize>() {
        return Err(format!("{} bytes for shape {shape:?}", elements.len()));
    }
    let values = elements.chunks_exact(2).map(|two| half(u16::from_le_bytes([two[0], two[1]])));
    Ok((shape, values.collect()))
}

/// A float16 as float32: its exponent counts from 15 and not from 127, which a product mends, also
/// for what is below the least normal number. Weights are finite.
fn half(bits: u16) -> f32 {
    let size = f32::from_bits(u32::from(bits & 0x7fff) << 13) * 2f32.powi(127 - 15);
    if bits >> 15 == 1 {
        -size
    } else {
        size
    }
}
