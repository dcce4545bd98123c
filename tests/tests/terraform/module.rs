//! A folder of `.tf` files, parsed.

use anyhow::Context;
use hcl_edit::expr::{Expression, ForExpr, Traversal, TraversalOperator};
use hcl_edit::structure::{Attribute, Block, Body};
use hcl_edit::template::ForTemplateExpr;
use hcl_edit::visit::{
    Visit, visit_attr, visit_block, visit_expr, visit_for_expr, visit_for_template_expr, visit_traversal,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder with the module.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../terraform")
}

/// The folders with examples.
///
/// # Errors
/// When there is no folder of them.
pub fn examples() -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(folder().join("examples"))? {
        folders.push(entry?.path());
    }
    folders.sort();
    Ok(folders)
}

/// All of a module's files.
pub struct Module {
    /// Each file's body, all as one.
    pub bodies: Vec<Body>,
}

impl Module {
    /// Reads and parses all `.tf` files of a folder, not those below it.
    ///
    /// # Errors
    /// When one cannot be read or is not HCL.
    pub fn read(folder: &Path) -> anyhow::Result<Self> {
        let mut bodies = Vec::new();
        for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tf") {
                let text = fs::read_to_string(&path)?;
                bodies.push(text.parse::<Body>().with_context(|| path.display().to_string())?);
            }
        }
        anyhow::ensure!(!bodies.is_empty(), "there is no .tf file in {}", folder.display());
        Ok(Self { bodies })
    }

    /// The module of a text.
    ///
    /// # Errors
    /// When it is not HCL.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        Ok(Self { bodies: vec![text.parse()?] })
    }

    /// All top-level blocks of a kind, such as `resource`.
    pub fn blocks<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        self.bodies.iter().flat_map(move |body| body.get_blocks(kind))
    }

    /// The block of a kind with these labels.
    ///
    /// # Errors
    /// When there is none.
    pub fn block<'a>(&'a self, kind: &'a str, wanted: &[&str]) -> anyhow::Result<&'a Block> {
        let mut all = self.blocks(kind);
        all.find(|block| labels(block) == wanted).with_context(|| format!("there is no {kind} {wanted:?}"))
    }

    /// All local values.
    pub fn locals(&self) -> impl Iterator<Item = &Attribute> {
        self.blocks("locals").flat_map(|block| block.body.attributes())
    }
}

/// A block's labels.
pub fn labels(block: &Block) -> Vec<&str> {
    block.labels.iter().map(hcl_edit::structure::BlockLabel::as_str).collect()
}

/// An attribute's expression as it is written, without blanks around it; nothing where there is none.
pub fn written(body: &Body, name: &str) -> Option<String> {
    body.get_attribute(name).map(|attribute| attribute.value.to_string().trim().to_owned())
}

/// What an expression or a body refers to: `var.x` is `["var", "x"]`.
#[derive(Default)]
pub struct References {
    /// The references, up to the first index.
    pub found: BTreeSet<Vec<String>>,
    /// Names that a `for` or a dynamic block brings.
    pub bound: BTreeSet<String>,
    /// All functions that are called.
    pub functions: BTreeSet<String>,
}

impl Visit for References {
    fn visit_expr(&mut self, expression: &Expression) {
        match expression {
            Expression::Variable(name) => {
                self.found.insert(vec![name.to_string().trim().to_owned()]);
            }
            Expression::FuncCall(call) => {
                self.functions.insert(call.name.name.to_string().trim().to_owned());
                visit_expr(self, expression);
            }
            _ => visit_expr(self, expression),
        }
    }

    fn visit_traversal(&mut self, traversal: &Traversal) {
        let Expression::Variable(root) = &traversal.expr else {
            return visit_traversal(self, traversal);
        };
        let mut path = vec![root.to_string().trim().to_owned()];
        for operator in &traversal.operators {
            match operator.value() {
                TraversalOperator::GetAttr(name) => path.push(name.as_str().to_owned()),
                _ => break,
            }
        }
        self.found.insert(path);
        for operator in &traversal.operators {
            self.visit_traversal_operator(operator.value());
        }
    }

    fn visit_for_expr(&mut self, node: &ForExpr) {
        self.bound.extend(node.intro.key_var.as_ref().map(|name| name.as_str().to_owned()));
        self.bound.insert(node.intro.value_var.as_str().to_owned());
        visit_for_expr(self, node);
    }

    fn visit_for_template_expr(&mut self, node: &ForTemplateExpr) {
        self.bound.extend(node.key_var.as_ref().map(|name| name.as_str().to_owned()));
        self.bound.insert(node.value_var.as_str().to_owned());
        // hcl-edit 0.10 leaves it out.
        self.visit_expr(&node.collection_expr);
        visit_for_template_expr(self, node);
    }

    fn visit_attr(&mut self, attribute: &Attribute) {
        // Names attributes of the resource itself.
        if attribute.key.as_str() != "ignore_changes" {
            visit_attr(self, attribute);
        }
    }

    fn visit_block(&mut self, block: &Block) {
        if block.ident.as_str() == "dynamic" {
            self.bound.extend(labels(block).into_iter().map(str::to_owned));
        }
        visit_block(self, block);
    }
}
