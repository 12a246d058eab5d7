//! What the examples need beside Weft: this program once more as a second process. A store does not
//! cross fork, so it is started anew, as engines' workers are; what it prints, the first one reads.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// "unix:PATH", the path new to this process.
pub fn new_address() -> String {
    let folder = std::env::temp_dir();
    format!(
        "unix:{}/weft-example-{}.sock",
        folder.display(),
        std::process::id()
    )
}

/// This program again, with other arguments; killed where it is dropped before its end.
pub struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("its output is a pipe")?);
        Ok(Self { child, output })
    }

    /// The next line it prints, which is printed here too; "" when there are no more.
    pub fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? > 0 {
            print!("  {}: {line}", self.child.id());
        }
        Ok(line)
    }

    /// Prints the rest, and fails if it did not end well.
    pub fn finish(mut self) -> Result {
        while !self.line()?.is_empty() {}
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(format!("the second process: {status}").into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // fails where it has ended
        let _ = self.child.wait();
    }
}
