//! Sizes with names in them: a polynomial over names and exact quotients, in one normal form, so that `2 * d / 2` is
//! `d` and `T + 1` equals `1 + T`.
//!
//! A quotient is exact: `d / heads` stands for the number that times `heads` gives `d`. That there is one is checked
//! where both numbers are known.

use std::collections::BTreeMap;
use std::fmt;

use crate::shape::Dim;

/// A sum of products of atoms, each with a factor that is not zero. No term at all is 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size {
    terms: BTreeMap<Product, i64>,
}

/// Atoms with their powers, in order; none is the constant term.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
struct Product(Vec<(Atom, u32)>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Atom {
    /// `positive`: it is the size of something, and so at least one.
    Name { name: String, varying: bool, positive: bool },
    /// An exact quotient that does not come out by itself.
    Quotient(Size, Size),
}

/// More terms than this are kept as one name: no size of a real model comes near.
const MOST_TERMS: usize = 32;
/// Products of more atoms than this, the same.
const MOST_ATOMS: u32 = 12;
/// Quotients inside one another beyond this, the same.
const MOST_NESTED: usize = 8;

impl Size {
    /// A size that has a name, and no number yet; at least one.
    pub fn named(name: &str) -> Self {
        Self::atom(Atom::Name { name: name.to_owned(), varying: false, positive: true })
    }

    /// A length that differs from sample to sample.
    pub fn varying(name: &str) -> Self {
        Self::atom(Atom::Name { name: name.to_owned(), varying: true, positive: true })
    }

    /// Any whole number at all, zero included: an argument that is not given yet.
    pub fn argument(name: &str) -> Self {
        Self::atom(Atom::Name { name: name.to_owned(), varying: false, positive: false })
    }

    fn constant(n: i64) -> Self {
        Self::term(Product::default(), n)
    }

    fn atom(atom: Atom) -> Self {
        Self::term(Product(vec![(atom, 1)]), 1)
    }

    fn term(product: Product, factor: i64) -> Self {
        let mut size = Self::default();
        if factor != 0 {
            size.terms.insert(product, factor);
        }
        size
    }

    /// The number, if nothing but one is left.
    pub fn number(&self) -> Option<i64> {
        let mut terms = self.terms.iter();
        match (terms.next(), terms.next()) {
            (None, _) => Some(0),
            (Some((product, n)), None) if product.0.is_empty() => Some(*n),
            _ => None,
        }
    }

    /// Whether a length that differs from sample to sample is in it.
    pub fn varies(&self) -> bool {
        self.atoms().any(|atom| match atom {
            Atom::Name { varying, .. } => *varying,
            Atom::Quotient(of, by) => of.varies() || by.varies(),
        })
    }

    /// The name, if it is nothing but one.
    pub fn name(&self) -> Option<&str> {
        let mut terms = self.terms.iter();
        match (terms.next(), terms.next()) {
            (Some((Product(atoms), 1)), None) => match atoms.as_slice() {
                [(Atom::Name { name, .. }, 1)] => Some(name),
                _ => None,
            },
            _ => None,
        }
    }

    /// How many parts it has: what it costs to copy.
    pub fn weight(&self) -> usize {
        let atom = |atom: &Atom| match atom {
            Atom::Name { name, .. } => 1 + name.len() / 16,
            Atom::Quotient(of, by) => of.weight() + by.weight(),
        };
        self.terms.keys().map(|product| 1 + product.0.iter().map(|(a, _)| atom(a)).sum::<usize>()).sum()
    }

    /// What it comes to, with a number for each name; `None` where a name has none or a quotient is not exact.
    pub fn value(&self, number: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        let mut sum = 0i64;
        for (product, factor) in &self.terms {
            let mut term = *factor;
            for (atom, power) in &product.0 {
                let n = match atom {
                    Atom::Name { name, .. } => number(name)?,
                    Atom::Quotient(of, by) => {
                        let (of, by) = (of.value(number)?, by.value(number)?);
                        (of.checked_rem(by)? == 0).then(|| of / by)?
                    }
                };
                term = term.checked_mul(n.checked_pow(*power)?)?;
            }
            sum = sum.checked_add(term)?;
        }
        Some(sum)
    }

    /// Whether the two differ whatever their names stand for: the difference is a sum of parts of one sign, one of
    /// which is certain not to be zero. (No size is negative.)
    pub fn differs(&self, other: &Size) -> bool {
        let Some(difference) = self.checked_sub(other) else { return false };
        let of_one_sign = difference.terms.values().all(|f| *f > 0) || difference.terms.values().all(|f| *f < 0);
        let certain =
            |product: &Product| product.0.iter().all(|(atom, _)| matches!(atom, Atom::Name { positive: true, .. }));
        of_one_sign && difference.terms.keys().any(certain)
    }

    /// The sum; `None` beyond all bounds.
    pub fn checked_add(&self, other: &Size) -> Option<Size> {
        let mut sum = self.clone();
        for (product, factor) in &other.terms {
            sum.add_term(product.clone(), *factor)?;
        }
        Some(sum.bounded())
    }

    /// The difference; `None` beyond all bounds.
    pub fn checked_sub(&self, other: &Size) -> Option<Size> {
        self.checked_add(&other.scaled(-1)?)
    }

    /// The product; `None` beyond all bounds.
    pub fn checked_mul(&self, other: &Size) -> Option<Size> {
        let mut sum = Size::default();
        for (a, m) in &self.terms {
            for (b, n) in &other.terms {
                let part = a.times(b).simplified()?.scaled(m.checked_mul(*n)?)?;
                sum = sum.checked_add(&part)?;
            }
        }
        Some(sum.bounded())
    }

    /// The exact quotient; `None` where it certainly is none (`5 / 2`, `… / 0`).
    pub fn checked_div(&self, other: &Size) -> Option<Size> {
        if other.terms.is_empty() {
            return None;
        }
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return (a.checked_rem(b)? == 0).then(|| Size::constant(a / b));
        }
        Some(self.over(other).unwrap_or_else(|| Size::atom(Atom::Quotient(self.clone(), other.clone())).bounded()))
    }

    fn add_term(&mut self, product: Product, factor: i64) -> Option<()> {
        let sum = self.terms.get(&product).copied().unwrap_or(0).checked_add(factor)?;
        if sum == 0 {
            self.terms.remove(&product);
        } else {
            self.terms.insert(product, sum);
        }
        Some(())
    }

    fn scaled(&self, by: i64) -> Option<Size> {
        let terms = self.terms.iter().map(|(product, n)| Some((product.clone(), n.checked_mul(by)?)));
        let terms: BTreeMap<Product, i64> = terms.collect::<Option<_>>()?;
        Some(Size { terms: terms.into_iter().filter(|(_, n)| *n != 0).collect() })
    }

    /// Long division, where it leaves nothing over.
    fn over(&self, other: &Size) -> Option<Size> {
        let (lead, by) = other.leading()?;
        let (mut rest, mut quotient) = (self.clone(), Size::default());
        for _ in 0..MOST_TERMS {
            let Some((product, factor)) = rest.leading() else { return Some(quotient) };
            if factor.checked_rem(by)? != 0 {
                return None;
            }
            let part = Size::term(product.without(&lead)?, factor / by);
            rest = rest.checked_sub(&part.checked_mul(other)?)?;
            quotient = quotient.checked_add(&part)?;
        }
        None
    }

    /// The term that long division begins with, by an order that products keep: powers of the last atom first.
    fn leading(&self) -> Option<(Product, i64)> {
        let by_last_atom = |product: &Product| product.0.iter().rev().cloned().collect::<Vec<_>>();
        let lead = self.terms.iter().max_by_key(|(product, _)| by_last_atom(product))?;
        Some((lead.0.clone(), *lead.1))
    }

    fn atoms(&self) -> impl Iterator<Item = &Atom> {
        self.terms.keys().flat_map(|product| product.0.iter().map(|(atom, _)| atom))
    }

    fn nesting(&self) -> usize {
        let of = |atom: &Atom| match atom {
            Atom::Name { .. } => 0,
            Atom::Quotient(of, by) => 1 + of.nesting().max(by.nesting()),
        };
        self.atoms().map(of).max().unwrap_or(0)
    }

    /// A size that has grown beyond what any model needs becomes one name: nothing more is known of it.
    fn bounded(self) -> Size {
        let grown = self.terms.len() > MOST_TERMS
            || self.terms.keys().any(|product| product.degree() > MOST_ATOMS)
            || self.nesting() > MOST_NESTED;
        if !grown {
            return self;
        }
        Self::atom(Atom::Name { name: "…".to_owned(), varying: self.varies(), positive: false })
    }

    /// As it is written, without the question marks of lengths that vary.
    pub fn plain(&self) -> String {
        self.to_string().replace('?', "")
    }
}

impl Product {
    fn degree(&self) -> u32 {
        self.0.iter().map(|(_, power)| *power).sum()
    }

    fn times(&self, other: &Product) -> Product {
        let mut powers: BTreeMap<Atom, u32> = self.0.iter().cloned().collect();
        for (atom, power) in &other.0 {
            *powers.entry(atom.clone()).or_insert(0) += power;
        }
        Product(powers.into_iter().collect())
    }

    /// The product without the factors of another one, if it has them all.
    fn without(&self, other: &Product) -> Option<Product> {
        let mut powers: BTreeMap<Atom, u32> = self.0.iter().cloned().collect();
        for (atom, power) in &other.0 {
            let left = powers.get(atom)?.checked_sub(*power)?;
            if left == 0 {
                powers.remove(atom);
            } else {
                powers.insert(atom.clone(), left);
            }
        }
        Some(Product(powers.into_iter().collect()))
    }

    /// A product in which a quotient meets its divisor: `(d / heads) * heads` is `d`.
    fn simplified(self) -> Option<Size> {
        for (index, (atom, power)) in self.0.iter().enumerate() {
            let (Atom::Quotient(of, by), 1) = (atom, power) else { continue };
            let mut others = self.0.clone();
            others.remove(index);
            if others.is_empty() {
                break;
            }
            let multiplied = Product(others).simplified()?.checked_mul(of)?;
            if let Some(quotient) = multiplied.over(by) {
                return Some(quotient);
            }
        }
        Some(Size::term(self, 1))
    }
}

impl From<&Dim> for Size {
    fn from(dim: &Dim) -> Self {
        match dim {
            Dim::Known(n) => Size::constant(*n),
            Dim::Open(size) => size.clone(),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        // Names before numbers: `T + 1`.
        let mut terms: Vec<(&Product, &i64)> = self.terms.iter().collect();
        terms.sort_by_key(|(product, factor)| (std::cmp::Reverse(product.degree()), **factor < 0));
        for (i, (product, factor)) in terms.into_iter().enumerate() {
            let sign = match (i, *factor < 0) {
                (0, false) => "",
                (0, true) => "-",
                (_, false) => " + ",
                (_, true) => " - ",
            };
            f.write_str(sign)?;
            let size = factor.unsigned_abs();
            if product.0.is_empty() {
                write!(f, "{size}")?;
                continue;
            }
            if size != 1 {
                write!(f, "{size} * ")?;
            }
            for (j, (atom, power)) in product.0.iter().enumerate() {
                f.write_str(if j == 0 { "" } else { " * " })?;
                write!(f, "{atom}")?;
                if *power != 1 {
                    write!(f, " ** {power}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |size: &Size| match size.terms.len() {
            1 if size.number().is_some() || size.name().is_some() => size.to_string(),
            _ => format!("({size})"),
        };
        match self {
            Atom::Name { name, varying, .. } => write!(f, "{name}{}", if *varying { "?" } else { "" }),
            Atom::Quotient(of, by) => write!(f, "({} / {})", part(of), part(by)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(n: i64) -> Size {
        Size::constant(n)
    }

    #[test]
    fn one_size_has_one_form() {
        let (t, d) = (Size::named("T"), Size::named("d"));
        assert_eq!(t.checked_add(&n(1)), n(1).checked_add(&t));
        assert_eq!(d.checked_mul(&n(2)).unwrap().checked_div(&n(2)), Some(d.clone()));
        assert_eq!(t.checked_add(&n(1)).unwrap().checked_sub(&n(1)), Some(t.clone()));
        let square = t.checked_add(&d).unwrap().checked_mul(&t.checked_add(&d).unwrap()).unwrap();
        assert_eq!(square.checked_div(&t.checked_add(&d).unwrap()), t.checked_add(&d));
        assert_eq!(Dim::from(d.checked_sub(&d).unwrap()), Dim::Known(0));
    }

    #[test]
    fn a_quotient_ends_where_it_meets_its_divisor() {
        let (d, heads, kv) = (Size::named("d"), Size::named("heads"), Size::named("kv"));
        let width = d.checked_div(&heads).unwrap();
        assert_eq!(width.to_string(), "(d / heads)");
        assert_eq!(width.checked_mul(&heads), Some(d.clone()));
        // The width that grouped attention gives: (d / heads) * (heads / kv) * kv.
        let grouped = width.checked_mul(&heads.checked_div(&kv).unwrap()).unwrap().checked_mul(&kv);
        assert_eq!(grouped, Some(d.clone()));
        assert_eq!(d.checked_div(&d), Some(n(1)));
        assert_eq!(n(5).checked_div(&n(2)), None);
        assert_eq!(d.checked_div(&n(0)), None);
    }

    #[test]
    fn what_can_never_be_equal_differs() {
        let (t, d) = (Size::named("T"), Size::named("d"));
        assert!(t.differs(&t.checked_add(&n(1)).unwrap()));
        assert!(d.differs(&d.checked_mul(&n(2)).unwrap()));
        // For some d they are equal.
        assert!(!d.differs(&n(64)));
        assert!(!t.differs(&d));
        // An argument may be zero.
        let padded = d.checked_add(&Size::argument("padding")).unwrap();
        assert!(!padded.differs(&d));
        assert!(padded.checked_add(&n(1)).unwrap().differs(&d));
    }

    #[test]
    fn lengths_that_vary_stay_varying() {
        let longer = Size::varying("T").checked_add(&n(1)).unwrap();
        assert!(longer.varies());
        assert_eq!(longer.to_string(), "T? + 1");
        assert_eq!(longer.plain(), "T + 1");
        assert_eq!(longer.value(&|_| Some(4)), Some(5));
        assert!(!Dim::from(longer).fits(&Dim::varying("T")));
        assert!(!Dim::varying("T").fits(&Dim::Known(4)));
        assert!(!Dim::varying("T").fits(&Dim::named("S")));
    }

    #[test]
    fn what_grows_beyond_bounds_is_a_name() {
        let mut size = Size::named("d");
        for _ in 0..40 {
            size = size.checked_mul(&Size::named("d").checked_add(&n(1)).unwrap()).unwrap();
        }
        assert!(size.weight() < 100);
        assert!(n(i64::MAX).checked_add(&n(1)).is_none());
    }
}
