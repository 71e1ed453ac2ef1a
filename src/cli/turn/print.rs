//! Prints an answer while it grows. What is on the terminal cannot be taken back: when the text turns out differently
//! (a reset), a new line begins and the text starts over. So the output always ends with exactly the final text.

/// What has been printed of the text since it last started over.
#[derive(Clone, Debug, Default)]
pub struct Printer {
    printed: String,
}

impl Printer {
    /// What to print so that the output ends with `text`.
    pub fn update(&mut self, text: &str) -> String {
        if let Some(rest) = text.strip_prefix(self.printed.as_str()) {
            let rest = rest.to_owned();
            self.printed.push_str(&rest);
            return rest;
        }
        let newline = if self.printed.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        text.clone_into(&mut self.printed);
        format!("{newline}{text}")
    }

    /// The same for the last time: the final text, and the newline that ends the output.
    pub fn finish(&mut self, text: &str) -> String {
        let mut rest = self.update(text);
        if !self.printed.is_empty() && !self.printed.ends_with('\n') {
            self.printed.push('\n');
            rest.push('\n');
        }
        rest
    }

    pub fn is_at_line_start(&self) -> bool {
        self.printed.is_empty() || self.printed.ends_with('\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_text_is_printed_as_it_comes() {
        let mut printer = Printer::default();
        assert_eq!(printer.update("he"), "he");
        assert_eq!(printer.update("he"), "");
        assert_eq!(printer.update("hello"), "llo");
        assert_eq!(printer.finish("hello"), "\n");
    }

    #[test]
    fn after_a_reset_the_whole_text_stands_at_the_end() {
        let mut printer = Printer::default();
        let mut out = printer.update("wrong w");
        out += &printer.update("");
        out += &printer.update("right");
        out += &printer.finish("right!");
        assert_eq!(out, "wrong w\nright!\n");
    }

    #[test]
    fn a_final_text_that_differs_is_printed_whole() {
        let mut printer = Printer::default();
        let mut out = printer.update("almost");
        out += &printer.finish("all of it\n");
        assert_eq!(out, "almost\nall of it\n");
        assert_eq!(Printer::default().finish(""), "");
    }
}
