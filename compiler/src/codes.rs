//! The catalogue of errors and warnings: a stable code for each kind of mistake, with its page (`lmvc explain CODE`).

/// A stable code: of an error, or of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// E0101
    Syntax,
    /// E0102
    Empty,
    /// E0201
    UnknownName,
    /// E0202
    UnknownArgument,
    /// E0203
    MissingArgument,
    /// E0204
    RepeatedArgument,
    /// E0205
    WrongType,
    /// E0206
    DefinedTwice,
    /// E0207
    UnknownField,
    /// E0208
    NotALayer,
    /// E0209
    OutOfRange,
    /// E0301
    Shape,
    /// E0302
    Division,
    /// E0303
    UnknownInput,
    /// E0304
    Dim,
    /// E0305
    Signature,
    /// E0401
    NoModel,
    /// E0402
    Classes,
    /// E0403
    Stream,
    /// E0404
    Measure,
    /// E0405
    Reported,
    /// E0406
    Samples,
    /// E0501
    FreezeConflict,
    /// E0502
    FrozenRandom,
    /// E0503
    NothingToTrain,
    /// E0504
    Unreached,
    /// E0601
    LayerIndex,
    /// E0701
    Recursion,
    /// E0702
    TooLarge,
    /// E0801
    Import,
    /// E0802
    ImportPath,
    /// E0803
    Private,
    /// E0804
    ImportCycle,
    /// E0805
    NoBase,
    /// W0001
    OtherName,
    /// W0002
    Unlikely,
}

/// One row of the catalogue.
pub struct Page {
    /// The code.
    pub code: Code,
    /// `E0301`.
    pub name: &'static str,
    /// The page of `lmvc explain`: what it means, a wrong program, a right one.
    pub text: &'static str,
}

macro_rules! catalogue {
    ($($code:ident $name:literal),* $(,)?) => {
        /// All codes in order, each with its page from `docs/errors/`.
        pub const PAGES: &[Page] = &[$(Page {
            code: Code::$code,
            name: $name,
            text: include_str!(concat!("../../docs/errors/", $name, ".md")),
        }),*];
    };
}

catalogue! {
    Syntax "E0101", Empty "E0102",
    UnknownName "E0201", UnknownArgument "E0202", MissingArgument "E0203", RepeatedArgument "E0204",
    WrongType "E0205", DefinedTwice "E0206", UnknownField "E0207", NotALayer "E0208", OutOfRange "E0209",
    Shape "E0301", Division "E0302", UnknownInput "E0303", Dim "E0304", Signature "E0305",
    NoModel "E0401", Classes "E0402", Stream "E0403", Measure "E0404", Reported "E0405", Samples "E0406",
    FreezeConflict "E0501", FrozenRandom "E0502", NothingToTrain "E0503", Unreached "E0504",
    LayerIndex "E0601", Recursion "E0701", TooLarge "E0702",
    Import "E0801", ImportPath "E0802", Private "E0803", ImportCycle "E0804", NoBase "E0805",
    OtherName "W0001", Unlikely "W0002",
}

impl Code {
    /// `E0301`.
    pub fn as_str(self) -> &'static str {
        PAGES.iter().find(|page| page.code == self).map_or("E0000", |page| page.name)
    }

    /// The page of a code as the user typed it, whatever its case.
    pub fn page(name: &str) -> Option<&'static Page> {
        PAGES.iter().find(|page| page.name.eq_ignore_ascii_case(name))
    }
}
