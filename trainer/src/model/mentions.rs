//! Which volume each place of a text shows: towers run once a volume, scores and sums once a mention.

use tch::{Kind, Tensor};

/// The mentions of a batch, in order of appearance.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mentions {
    /// The text that each is in.
    pub(crate) texts: Vec<i64>,
    /// The volume that each shows.
    pub(crate) volumes: Vec<i64>,
    /// The place of each in a table of volumes by `most` places.
    pub(crate) slots: Vec<i64>,
    /// Mentions of one volume at most.
    pub(crate) most: i64,
    /// Volumes of the batch.
    pub(crate) volume_count: i64,
}

impl Mentions {
    /// `texts` and `volumes` of each mention; the places follow.
    pub(crate) fn plan(texts: Vec<i64>, volumes: Vec<i64>, volume_count: i64) -> Mentions {
        let mut counts = vec![0; volume_count as usize];
        let places: Vec<i64> = volumes
            .iter()
            .map(|volume| {
                let count: &mut i64 = &mut counts[*volume as usize];
                *count += 1;
                *count - 1
            })
            .collect();
        let most = counts.iter().copied().max().unwrap_or(0);
        let slots = volumes.iter().zip(places).map(|(volume, place)| volume * most + place).collect();
        Mentions { texts, volumes, slots, most, volume_count }
    }

    pub(crate) fn count(&self) -> i64 {
        self.volumes.len() as i64
    }

    /// Whether mention m shows volume m, so that nothing has to be picked.
    fn is_one_each(&self) -> bool {
        self.volume_count == self.count() && self.volumes.iter().zip(0..).all(|(volume, place)| *volume == place)
    }
}

/// The mentions with what the device needs of them.
pub(crate) struct PlacedMentions<'a> {
    pub(crate) plan: &'a Mentions,
    pub(crate) texts_m: Tensor,
    pub(crate) volumes_m: Tensor,
    pub(crate) slots_m: Tensor,
}

impl PlacedMentions<'_> {
    /// (V, ..) to (M, ..).
    pub(crate) fn of_volumes(&self, x: &Tensor) -> Tensor {
        if self.plan.is_one_each() { x.shallow_clone() } else { x.index_select(0, &self.volumes_m) }
    }

    /// (B, ..) to (M, ..).
    pub(crate) fn of_texts(&self, x: &Tensor) -> Tensor {
        x.index_select(0, &self.texts_m)
    }

    /// The sum over slices of what each volume has, (V, N, F), weighed for each mention by (M, N): (M, F). One matrix product a
    /// volume, (K, N) by (N, F), so that neither a weighed nor a picked copy of the slices is made.
    pub(crate) fn weighed_sums(&self, slices_vnf: &Tensor, weights_mn: &Tensor) -> Tensor {
        let weights_mn = weights_mn.to_kind(slices_vnf.kind());
        if self.plan.is_one_each() {
            return weights_mn.unsqueeze(1).bmm(slices_vnf).squeeze_dim(1);
        }
        let (volumes, slices, _) = slices_vnf.size3().expect("slices have three axes");
        let (kind, device) = (slices_vnf.kind(), slices_vnf.device());
        let table = Tensor::zeros([volumes * self.plan.most, slices], (kind, device));
        let weights_vkn = table.index_copy(0, &self.slots_m, &weights_mn).view([volumes, self.plan.most, slices]);
        weights_vkn.bmm(slices_vnf).flatten(0, 1).index_select(0, &self.slots_m)
    }

    /// As [`PlacedMentions::weighed_sums`] where all slices count the same.
    pub(crate) fn means(&self, slices_vnf: &Tensor) -> Tensor {
        self.of_volumes(&slices_vnf.mean_dim([1i64].as_slice(), false, None::<Kind>))
    }
}
