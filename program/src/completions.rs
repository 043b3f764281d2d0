//! Completions: what a shell needs to complete a program's verbs, options and words.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::Stdout;

/// The arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl CompletionsArgs {
    /// Prints the script for a program.
    ///
    /// # Errors
    /// Standard output refuses the write.
    pub fn print<Program: CommandFactory>(&self, out: &mut Stdout) -> io::Result<()> {
        let mut program = Program::command();
        let name = program.get_name().to_owned();
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        out.data(&script)
    }
}
