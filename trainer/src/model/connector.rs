//! From an encoder's tokens to the language model's width: pool, then none, one or several linear maps with exact GELU
//! between them (released code, `src/model/encoder/connector`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::error::{ModelError, expect_multiple};
use super::layers::{Init, Linear};

/// Which connector, as the config names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorKind {
    /// Average pooling over blocks of the 3D patch grid, then an MLP (`spatial_pooling_mlpNx_gelu`).
    SpatialPooling {
        /// Block, D H W.
        pool: [i64; 3],
        /// Linear maps of the MLP.
        layers: usize,
    },
    /// Average pooling over squares of a slice's patch grid, then an MLP (`plane_pooling_mlpNx_gelu`).
    PlanePooling {
        /// Square, H W.
        pool: [i64; 2],
        /// Linear maps of the MLP.
        layers: usize,
    },
    /// An MLP on every token (`mlpNx_gelu`).
    Mlp {
        /// Linear maps.
        layers: usize,
    },
    /// One linear map on every token.
    Linear,
    /// None: the encoder has the language model's width already.
    Identity,
}

impl ConnectorKind {
    /// The released 3D connector: 2x2x2 pooling, two linear maps.
    pub const SPATIAL_POOLING_MLP2X: ConnectorKind = ConnectorKind::SpatialPooling { pool: [2, 2, 2], layers: 2 };
    /// The released 2D connector: two linear maps.
    pub const MLP2X: ConnectorKind = ConnectorKind::Mlp { layers: 2 };

    /// Linear maps in a row.
    pub(crate) fn layers(self) -> usize {
        match self {
            ConnectorKind::SpatialPooling { layers, .. }
            | ConnectorKind::PlanePooling { layers, .. }
            | ConnectorKind::Mlp { layers } => layers,
            ConnectorKind::Linear => 1,
            ConnectorKind::Identity => 0,
        }
    }

    /// The grid of tokens after pooling; a slice's grid has one layer.
    pub(crate) fn pooled(self, grid: [i64; 3]) -> [i64; 3] {
        let pool = self.pool();
        std::array::from_fn(|axis| grid[axis] / pool[axis].max(1))
    }

    fn pool(self) -> [i64; 3] {
        match self {
            ConnectorKind::SpatialPooling { pool, .. } => pool,
            ConnectorKind::PlanePooling { pool: [h, w], .. } => [1, h, w],
            ConnectorKind::Mlp { .. } | ConnectorKind::Linear | ConnectorKind::Identity => [1; 3],
        }
    }
}

/// A connector.
pub struct Connector {
    kind: ConnectorKind,
    grid: [i64; 3],
    pub(crate) maps: Vec<Linear>,
}

impl Connector {
    /// From tokens of width `from` on a `grid` (one layer for a slice) to width `to`. `field` names the choice in errors.
    ///
    /// # Errors
    /// A grid that the blocks do not divide, a kind that does not fit the grid or the widths.
    pub(crate) fn new(
        field: &str,
        kind: ConnectorKind,
        init: &Init,
        grid: [i64; 3],
        from: i64,
        to: i64,
    ) -> Result<Connector, ModelError> {
        let fail = |expected: &str, found: &str| Err(ModelError::config(field, expected, found));
        if matches!(kind, ConnectorKind::PlanePooling { .. }) && grid[0] != 1 {
            return fail("spatial_pooling for a volume's grid", "plane_pooling");
        }
        for (patches, block) in grid.into_iter().zip(kind.pool()) {
            expect_multiple(field, patches, block)?;
        }
        let layers = kind.layers();
        if layers == 0 && kind != ConnectorKind::Identity {
            return fail("1 layer or more", "0");
        }
        if layers == 0 && from != to {
            return fail(&format!("another than identity, from width {from} to {to}"), "identity");
        }
        let maps = (0..layers).map(|layer| Linear::new(init, if layer == 0 { from } else { to }, to)).collect();
        Ok(Connector { kind, grid, maps })
    }

    /// Which one it is.
    pub(crate) fn kind(&self) -> ConnectorKind {
        self.kind
    }

    /// (B, P, E of the encoder) to (B, S, E), the grid's first axis slowest; P patches of a volume or slice.
    pub(crate) fn forward(&self, patches_bpe: &Tensor) -> Tensor {
        let hidden_bse = self.before_last(patches_bpe);
        self.maps.last().map_or_else(|| hidden_bse.shallow_clone(), |last| last.forward(&hidden_bse))
    }

    /// What the last map is given, (B, S, E of its input).
    pub(crate) fn before_last(&self, patches_bpe: &Tensor) -> Tensor {
        let mut tokens = self.pool(patches_bpe);
        for map in self.maps.iter().rev().skip(1).rev() {
            tokens = map.forward(&tokens).gelu("none");
        }
        tokens
    }

    fn pool(&self, patches_bpe: &Tensor) -> Tensor {
        let pool = self.kind.pool();
        if pool == [1; 3] {
            return patches_bpe.shallow_clone();
        }
        let ([d, h, w], [pd, ph, pw]) = (self.grid, pool);
        // A mean over three axes of a view reads the tokens in their order; avg_pool3d would need them transposed first.
        patches_bpe
            .reshape([-1, d / pd, pd, h / ph, ph, w / pw, pw, patches_bpe.size()[2]].as_slice())
            .mean_dim([2i64, 4, 6].as_slice(), false, None::<tch::Kind>)
            .flatten(1, 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::layers::Initializer;
    use tch::{Device, Kind};

    fn connector(kind: ConnectorKind, grid: [i64; 3], from: i64, to: i64) -> Result<Connector, ModelError> {
        let init = Init::drawn(Device::Cpu, Kind::Float, Initializer::Normal(0.02), 1);
        Connector::new("connector", kind, &init, grid, from, to)
    }

    #[test]
    fn pooling_equals_libtorchs_average_pooling() {
        let patches_bpe = Tensor::rand([2, 4 * 6 * 4, 5], (Kind::Float, Device::Cpu));
        let kind = ConnectorKind::SpatialPooling { pool: [2, 3, 1], layers: 1 };
        let pooled = connector(kind, [4, 6, 4], 5, 3).unwrap().pool(&patches_bpe);
        let grid_bedhw = patches_bpe.transpose(1, 2).reshape([2, 5, 4, 6, 4]);
        let expected = grid_bedhw.avg_pool3d([2, 3, 1], [2, 3, 1], [0, 0, 0], false, true, None);
        assert!((pooled - expected.flatten(2, 4).transpose(1, 2)).abs().max().double_value(&[]) < 1e-6);

        let slices_bqe = Tensor::rand([3, 16, 5], (Kind::Float, Device::Cpu));
        let kind = ConnectorKind::PlanePooling { pool: [2, 2], layers: 1 };
        let pooled = connector(kind, [1, 4, 4], 5, 3).unwrap().pool(&slices_bqe);
        let grid_behw = slices_bqe.transpose(1, 2).reshape([3, 5, 4, 4]);
        let expected = grid_behw.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None);
        assert!((pooled - expected.flatten(2, 3).transpose(1, 2)).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn identity_gives_the_tokens_back_and_only_fits_equal_widths() {
        let tokens = Tensor::rand([1, 4, 5], (Kind::Float, Device::Cpu));
        assert!(connector(ConnectorKind::Identity, [1, 2, 2], 5, 5).unwrap().forward(&tokens) == tokens);
        assert!(connector(ConnectorKind::Identity, [1, 2, 2], 5, 6).is_err());
        assert!(connector(ConnectorKind::Mlp { layers: 0 }, [1, 2, 2], 5, 6).is_err());
        assert!(connector(ConnectorKind::PlanePooling { pool: [2, 2], layers: 2 }, [2, 2, 2], 5, 6).is_err());
        assert!(connector(ConnectorKind::SpatialPooling { pool: [3, 2, 2], layers: 2 }, [2, 2, 2], 5, 6).is_err());
    }
}
