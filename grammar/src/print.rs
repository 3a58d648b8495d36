//! From the syntax tree to text that reads as the same tree. There is nothing to be chosen here: one line for what takes
//! one, and no parentheses but those that are needed. [`crate::format()`] makes it beautiful.

use std::fmt::Write;

use crate::ast::{
    Arg, BinaryOp, Block, Comparison, DimExpr, Expr, ExprKind, Fact, File, Input, Item, ItemKind, Literal, Name, Param,
    Signature, Type, TypeKind, UseName, UsePath,
};

/// The text of a file.
///
/// ```
/// let parsed = lmv_grammar::parse("let  f=( a )>>g");
/// assert_eq!(lmv_grammar::print(&parsed.file), "let f = a >> g\n");
/// ```
pub fn print(file: &File) -> String {
    let mut printer = Printer::default();
    printer.docs(file.doc.as_deref(), "//!");
    file.items.iter().for_each(|item| printer.item(item));
    printer.text
}

/// The text of an expression.
pub fn print_expr(expr: &Expr) -> String {
    let mut printer = Printer::default();
    printer.expr(expr, Binding::Pipe);
    printer.text
}

/// How tightly an expression binds, the loosest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Pipe,
    As,
    With,
    Or,
    Range,
    Sum,
    Product,
    Power,
    Sign,
    Postfix,
}

impl Binding {
    fn of(expr: &Expr) -> Binding {
        match &expr.kind {
            ExprKind::Pipe(_) => Binding::Pipe,
            ExprKind::As(..) => Binding::As,
            ExprKind::With(..) => Binding::With,
            ExprKind::Range(..) => Binding::Range,
            ExprKind::Binary(op, ..) => Binding::of_op(*op),
            ExprKind::Negate(_) => Binding::Sign,
            // These take no call, index or field, but stand wherever an operand does.
            ExprKind::Int(_)
            | ExprKind::Float(_)
            | ExprKind::Str(_)
            | ExprKind::Bool(_)
            | ExprKind::Repeat { .. }
            | ExprKind::List(_)
            | ExprKind::Record(_) => Binding::Sign,
            ExprKind::Name(_) | ExprKind::Field(..) | ExprKind::Index(..) | ExprKind::Call(..) | ExprKind::Tuple(_) => {
                Binding::Postfix
            }
        }
    }

    fn of_op(op: BinaryOp) -> Binding {
        match op {
            BinaryOp::Or => Binding::Or,
            BinaryOp::Add | BinaryOp::Sub => Binding::Sum,
            BinaryOp::Mul | BinaryOp::Div => Binding::Product,
            BinaryOp::Pow => Binding::Power,
        }
    }

    /// The next tighter one.
    fn tighter(self) -> Binding {
        match self {
            Binding::Pipe => Binding::As,
            Binding::As => Binding::With,
            Binding::With => Binding::Or,
            Binding::Or => Binding::Range,
            Binding::Range => Binding::Sum,
            Binding::Sum => Binding::Product,
            Binding::Product => Binding::Power,
            Binding::Power => Binding::Sign,
            Binding::Sign | Binding::Postfix => Binding::Postfix,
        }
    }
}

#[derive(Default)]
struct Printer {
    text: String,
}

impl Printer {
    fn put(&mut self, text: &str) {
        self.text.push_str(text);
    }

    fn line(&mut self) {
        self.text.push('\n');
    }

    fn docs(&mut self, doc: Option<&str>, marker: &str) {
        for line in doc.into_iter().flat_map(|doc| doc.split('\n')) {
            self.put(marker);
            if !line.is_empty() {
                self.put(" ");
                self.put(line);
            }
            self.line();
        }
    }

    /// The elements with `, ` between them.
    fn list<T>(&mut self, elements: &[T], mut each: impl FnMut(&mut Self, &T)) {
        for (i, element) in elements.iter().enumerate() {
            if i > 0 {
                self.put(", ");
            }
            each(self, element);
        }
    }

    fn name(&mut self, name: &Name) {
        self.put(&name.text);
    }

    fn literal(&mut self, text: &str) {
        self.put("\"");
        for c in text.chars() {
            match c {
                '"' => self.put("\\\""),
                '\\' => self.put("\\\\"),
                '\n' => self.put("\\n"),
                c => self.text.push(c),
            }
        }
        self.put("\"");
    }

    // Items.

    fn item(&mut self, item: &Item) {
        self.docs(item.doc.as_deref(), "///");
        self.item_kind(&item.kind);
        self.line();
    }

    fn item_kind(&mut self, kind: &ItemKind) {
        match kind {
            ItemKind::Use { from, names, .. } => {
                self.put("use ");
                match from {
                    UsePath::File(file) => self.literal(&file.text),
                    UsePath::Module(path) => self.path(path),
                }
                if let Some(names) = names {
                    self.put(" { ");
                    self.list(names, Self::use_name);
                    self.put(" }");
                }
            }
            ItemKind::Setting { name, rest, value } => {
                self.name(name);
                for name in rest {
                    self.put(".");
                    self.name(name);
                }
                self.value(value);
            }
            ItemKind::Model { inputs, body, .. } => {
                self.put("model(");
                self.list(inputs, Self::input);
                self.put(") ");
                self.block(body);
            }
            ItemKind::Variant { name, each, settings } => {
                self.put("variant ");
                self.name(name);
                if let Some((name, numbers)) = each {
                    self.put(" for ");
                    self.name(name);
                    self.put(" in ");
                    self.expr(numbers, Binding::Pipe);
                }
                self.lines(settings, Self::setting);
            }
            ItemKind::Let { name, params, value } => {
                self.put("let ");
                self.name(name);
                if let Some(params) = params {
                    self.params(params);
                }
                self.value(value);
            }
            ItemKind::Define { kind, name, params, signature, body } => {
                self.head(kind, name, params, signature.as_ref());
                // Only a layer has a body in braces.
                if kind.text == "layer" {
                    self.put(" ");
                    self.block(body);
                } else {
                    self.value(&body.result);
                }
            }
            ItemKind::Extern { kind, name, params, signature, facts } => {
                self.put("extern ");
                self.head(kind, name, params, signature.as_ref());
                if !facts.is_empty() {
                    self.lines(facts, Self::fact);
                }
            }
            ItemKind::Recipe { name, params, fields } => {
                self.put("recipe ");
                self.name(name);
                self.some_params(params);
                self.lines(fields, |this, (name, value)| {
                    this.name(name);
                    this.value(value);
                });
            }
            ItemKind::Llm { name, value } => {
                self.put("llm ");
                self.name(name);
                self.value(value);
            }
            ItemKind::Names { name, pairs } => {
                self.put("names ");
                self.name(name);
                self.lines(pairs, |this, (ours, theirs): &(Literal, Literal)| {
                    this.literal(&ours.text);
                    this.put(" = ");
                    this.literal(&theirs.text);
                });
            }
        }
    }

    fn path(&mut self, path: &[Name]) {
        for (i, name) in path.iter().enumerate() {
            if i > 0 {
                self.put(".");
            }
            self.name(name);
        }
    }

    fn use_name(&mut self, name: &UseName) {
        self.name(&name.name);
        if let Some(alias) = &name.alias {
            self.put(" as ");
            self.name(alias);
        }
    }

    /// A setting of a variant, with its documentation.
    fn setting(&mut self, setting: &Item) {
        self.docs(setting.doc.as_deref(), "///");
        self.item_kind(&setting.kind);
    }

    /// Braces with each element on a line of its own.
    fn lines<T>(&mut self, elements: &[T], mut each: impl FnMut(&mut Self, &T)) {
        self.put(" {\n");
        for element in elements {
            each(self, element);
            self.line();
        }
        self.put("}");
    }

    fn value(&mut self, value: &Expr) {
        self.put(" = ");
        self.expr(value, Binding::Pipe);
    }

    fn head(&mut self, kind: &Name, name: &Name, params: &[Param], signature: Option<&Signature>) {
        self.name(kind);
        self.put(" ");
        self.name(name);
        self.some_params(params);
        if let Some(signature) = signature {
            self.put(" : ");
            if let Some(input) = &signature.input {
                self.ty(input);
                self.put(" -> ");
            }
            self.ty(&signature.output);
        }
    }

    fn some_params(&mut self, params: &[Param]) {
        if !params.is_empty() {
            self.params(params);
        }
    }

    fn params(&mut self, params: &[Param]) {
        self.put("(");
        self.list(params, |this, param| {
            this.name(&param.name);
            if let Some(default) = &param.default {
                this.value(default);
            }
        });
        self.put(")");
    }

    fn input(&mut self, input: &Input) {
        self.name(&input.name);
        if let Some(shape) = &input.shape {
            self.put(" : ");
            self.ty(shape);
        }
    }

    fn fact(&mut self, fact: &Fact) {
        match fact {
            Fact::NotYetRun(_) => self.put("not_yet_run"),
            Fact::Means(body) => {
                self.put("means ");
                self.block(body);
            }
            Fact::Flops(value) => {
                self.put("flops");
                self.value(value);
            }
            Fact::Keeps(kept) => {
                self.put("keeps = ");
                self.put(kept.word());
            }
            Fact::Gain(name) => {
                self.put("gain = ");
                self.name(name);
            }
            Fact::Shift(name) => {
                self.put("shift = ");
                self.name(name);
            }
            Fact::Require { must, first, rest, .. } => {
                self.put(if *must { "require " } else { "expect " });
                self.expr(first, Binding::Or);
                for (comparison, expr) in rest {
                    self.put(match comparison {
                        Comparison::Less => " < ",
                        Comparison::AtMost => " <= ",
                    });
                    self.expr(expr, Binding::Or);
                }
            }
            Fact::Buffer { name, shape, init } => {
                self.put("buffer ");
                self.name(name);
                self.put(" : ");
                self.ty(shape);
                self.value(init);
            }
            Fact::Weight { name, shape, init, when } => {
                self.name(name);
                self.put(" : ");
                self.ty(shape);
                self.value(init);
                if let Some(when) = when {
                    self.put(" if ");
                    self.expr(when, Binding::Pipe);
                }
            }
        }
    }

    // Types.

    fn ty(&mut self, ty: &Type) {
        match &ty.kind {
            TypeKind::Shape(dims) => self.dims(dims),
            TypeKind::Of { dims, element } => {
                self.dims(dims);
                self.put(" of ");
                self.ty(element);
            }
            TypeKind::Tuple(types) => {
                self.put("(");
                self.list(types, Self::ty);
                self.put(")");
            }
            TypeKind::Record(fields) => {
                self.put("{ ");
                self.list(fields, |this, (name, ty)| {
                    this.name(name);
                    this.put(" : ");
                    this.ty(ty);
                });
                self.put(" }");
            }
            TypeKind::Named(name, args) => {
                self.name(name);
                if !args.is_empty() {
                    self.put("(");
                    self.list(args, |this, arg| this.expr(arg, Binding::Pipe));
                    self.put(")");
                }
            }
        }
    }

    fn dims(&mut self, dims: &[DimExpr]) {
        self.put("[");
        self.list(dims, |this, dim| match dim {
            DimExpr::Rest(_) => this.put(".."),
            DimExpr::Varying(name) => {
                this.name(name);
                this.put("?");
            }
            DimExpr::Expr(expr) => this.dim(expr, Binding::Sum),
        });
        self.put("]");
    }

    /// Arithmetic in a shape, which has no `**` without parentheses around it.
    fn dim(&mut self, expr: &Expr, least: Binding) {
        match &expr.kind {
            ExprKind::Binary(op, left, right)
                if Binding::of_op(*op) >= least && matches!(Binding::of_op(*op), Binding::Sum | Binding::Product) =>
            {
                self.dim(left, Binding::of_op(*op));
                self.sign(*op);
                self.dim(right, Binding::of_op(*op).tighter());
            }
            _ => self.expr(expr, Binding::Sign),
        }
    }

    // Expressions.

    fn block(&mut self, block: &Block) {
        self.put("{\n");
        for line in &block.lets {
            self.put("let ");
            match line.names.as_slice() {
                [name] => self.name(name),
                names => {
                    self.put("(");
                    self.list(names, Self::name);
                    self.put(")");
                }
            }
            self.value(&line.value);
            self.line();
        }
        // Behind a value, a minus would be one between two operands.
        if !block.lets.is_empty() && begins_with_minus(&block.result) {
            self.put("(");
            self.expr(&block.result, Binding::Pipe);
            self.put(")");
        } else {
            self.expr(&block.result, Binding::Pipe);
        }
        self.put("\n}");
    }

    fn sign(&mut self, op: BinaryOp) {
        self.put(" ");
        self.put(op.sign());
        self.put(" ");
    }

    /// An expression, in parentheses if it binds less tightly than `least`.
    fn expr(&mut self, expr: &Expr, least: Binding) {
        let binding = Binding::of(expr);
        if binding < least {
            self.put("(");
            self.expr(expr, Binding::Pipe);
            self.put(")");
            return;
        }
        match &expr.kind {
            ExprKind::Int(value) => self.number(value),
            ExprKind::Float(value) => self.number(value),
            ExprKind::Str(text) => self.literal(text),
            ExprKind::Bool(value) => self.number(value),
            ExprKind::Name(name) => self.put(name),
            ExprKind::Field(of, name) => {
                self.expr(of, Binding::Postfix);
                self.put(".");
                self.name(name);
            }
            ExprKind::Index(of, at) => {
                self.expr(of, Binding::Postfix);
                self.put("[");
                self.expr(at, Binding::Pipe);
                self.put("]");
            }
            ExprKind::Range(from, to) => {
                self.expr(from, binding.tighter());
                self.put("..");
                self.expr(to, binding.tighter());
            }
            ExprKind::Call(callee, args) => {
                // `repeat(` begins the form of that name.
                if matches!(&callee.kind, ExprKind::Name(name) if name == "repeat") {
                    self.put("(repeat)");
                } else {
                    self.expr(callee, Binding::Postfix);
                }
                self.put("(");
                self.list(args, Self::arg);
                self.put(")");
            }
            ExprKind::Repeat { count, var, body, .. } => {
                self.put("repeat(");
                self.expr(count, Binding::Pipe);
                if let Some(var) = var {
                    self.put(", ");
                    self.name(var);
                }
                self.put(") ");
                self.block(body);
            }
            ExprKind::Negate(of) => {
                self.put("-");
                self.expr(of, Binding::Sign);
            }
            ExprKind::Binary(op, left, right) => {
                // `**` groups to the right, the others to the left.
                let (of_left, of_right) = match op {
                    BinaryOp::Pow => (binding.tighter(), binding),
                    _ => (binding, binding.tighter()),
                };
                self.expr(left, of_left);
                self.sign(*op);
                self.expr(right, of_right);
            }
            ExprKind::Pipe(steps) => {
                for (i, step) in steps.iter().enumerate() {
                    if i > 0 {
                        self.put(" >> ");
                    }
                    self.expr(step, Binding::As);
                }
            }
            ExprKind::Tuple(elements) => {
                self.put("(");
                self.list(elements, |this, element| this.expr(element, Binding::Pipe));
                self.put(")");
            }
            ExprKind::List(elements) => {
                self.put("[");
                self.list(elements, |this, element| this.expr(element, Binding::Pipe));
                self.put("]");
            }
            ExprKind::Record(fields) => self.record(fields),
            ExprKind::With(of, changes) => {
                self.expr(of, Binding::With);
                self.put(" with ");
                self.record(changes);
            }
            ExprKind::As(of, name) => {
                self.expr(of, Binding::With);
                self.put(" as ");
                self.name(name);
            }
        }
    }

    /// Numbers are written so that they are read as what they are: a fraction or an exponent marks a `Float`.
    fn number(&mut self, value: &impl std::fmt::Debug) {
        // Writing to a string does not fail.
        let _ = write!(self.text, "{value:?}");
    }

    fn record(&mut self, fields: &[(Name, Expr)]) {
        self.put("{ ");
        self.list(fields, |this, (name, value)| {
            this.name(name);
            this.put(": ");
            this.expr(value, Binding::Pipe);
        });
        self.put(" }");
    }

    fn arg(&mut self, arg: &Arg) {
        if let Some(name) = &arg.name {
            self.name(name);
            self.put(" = ");
        }
        self.expr(&arg.value, Binding::Pipe);
    }
}

/// Whether the text of an expression begins with a minus.
fn begins_with_minus(expr: &Expr) -> bool {
    let mut first = expr;
    loop {
        let (next, least) = match &first.kind {
            ExprKind::Negate(_) => return true,
            ExprKind::Binary(op @ BinaryOp::Pow, left, _) => (left, Binding::of_op(*op).tighter()),
            ExprKind::Binary(op, left, _) => (left, Binding::of_op(*op)),
            ExprKind::Range(left, _) => (left, Binding::Range.tighter()),
            ExprKind::With(of, _) | ExprKind::As(of, _) => (of, Binding::With),
            ExprKind::Pipe(steps) => match steps.first() {
                Some(step) if Binding::of(step) >= Binding::As => {
                    first = step;
                    continue;
                }
                _ => return false,
            },
            _ => return false,
        };
        if Binding::of(next) < least {
            return false;
        }
        first = next;
    }
}
