//! Things with numbers that are given only once, so that what is gone can't be mistaken for another.
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::ops::{Index, IndexMut};

pub struct Numbered<T> {
    what: &'static str,
    next: u32,
    things: HashMap<usize, T>,
}
impl<T> Numbered<T> {
    /// `what`: the things' name in the plural, for errors.
    pub fn new(what: &'static str) -> Numbered<T> {
        Numbered { what, next: 0, things: HashMap::new() }
    }
    /// The number of `thing` from now on.
    pub fn insert(&mut self, thing: T) -> Result<u32> {
        let number = self.next;
        self.next = number.checked_add(1).ok_or_else(|| Error::not_supported(format!("more than 2^32 {} in one process", self.what)))?;
        self.things.insert(number as usize, thing);
        Ok(number)
    }
    pub fn remove(&mut self, number: usize) -> Option<T> {
        self.things.remove(&number)
    }
    pub fn get(&self, number: usize) -> Option<&T> {
        self.things.get(&number)
    }
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.things.iter().map(|(n, t)| (*n, t))
    }
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.things.values_mut()
    }
}
impl<T> Index<usize> for Numbered<T> {
    type Output = T;
    fn index(&self, number: usize) -> &T {
        &self.things[&number]
    }
}
impl<T> IndexMut<usize> for Numbered<T> {
    #[allow(clippy::expect_used)] // as indexing does, and the caller has looked
    fn index_mut(&mut self, number: usize) -> &mut T {
        self.things.get_mut(&number).expect("no such number")
    }
}
