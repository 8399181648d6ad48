//! The earth in tiles: places that are near each other mostly share the beginning of their key.

use crate::filter::geo::{EARTH_RADIUS_METERS, GeoBox, GeoPoint, GeoPolygon, GeoRadius, Shape};

/// How often a tile is halved in both directions until it is a key.
const LEVELS: u32 = 32;

/// Ranges of keys that a shape is covered with, at most about so many.
const RANGES_MAX: usize = 256;

/// Degrees by which every tile is taken to be larger than it is, because its borders are rounded.
const SLACK_DEGREES: f64 = 1e-9;

/// Ranges of keys, both ends included.
type Ranges = Vec<(u64, u64)>;

/// The tiles that cover a shape.
#[derive(Debug, Default)]
pub(crate) struct Cover {
    /// All of their places lie in the shape.
    pub(crate) inside: Ranges,
    /// Some of their places may.
    pub(crate) border: Ranges,
}

/// The smallest tile a place lies in: bits of latitude and longitude in turn, longitude first.
pub(crate) fn tile_of(point: GeoPoint) -> u64 {
    let step =
        |share: f64| (share * 2_f64.powi(LEVELS as i32)).floor().clamp(0.0, f64::from(u32::MAX)) as u32;
    spread(step((point.lon + 180.0) / 360.0)) << 1 | spread(step((point.lat + 90.0) / 180.0))
}

/// Finds the tiles of a shape: halves what lies across its border until there are enough.
pub(crate) fn cover(shape: &Shape) -> Cover {
    let mut cover = Cover::default();
    let mut border = vec![Tile { prefix: 0, level: 0 }];
    while !border.is_empty() {
        let mut finer = Vec::new();
        for tile in border.iter().flat_map(|tile| tile.quarters()) {
            match relate(shape, &tile.area()) {
                Relation::Outside => {}
                Relation::Inside => cover.inside.push(tile.range()),
                Relation::Across => finer.push(tile),
            }
        }
        border = finer;
        let done = border.first().is_none_or(|tile| tile.level == LEVELS);
        if done || border.len() + cover.inside.len() > RANGES_MAX / 4 {
            break;
        }
    }
    cover.border = border.iter().map(Tile::range).collect();
    join(&mut cover.inside);
    join(&mut cover.border);
    cover
}

/// Joins ranges that touch.
fn join(ranges: &mut Ranges) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let touch = last.1.checked_add(1) == Some(next.0);
        if touch {
            last.1 = next.1;
        }
        touch
    });
}

/// Puts a zero before every bit.
fn spread(bits: u32) -> u64 {
    let mut x = u64::from(bits);
    x = (x | x << 16) & 0x0000_ffff_0000_ffff;
    x = (x | x << 8) & 0x00ff_00ff_00ff_00ff;
    x = (x | x << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    x = (x | x << 2) & 0x3333_3333_3333_3333;
    (x | x << 1) & 0x5555_5555_5555_5555
}

/// Takes every second bit.
fn gather(bits: u64) -> u32 {
    let mut x = bits & 0x5555_5555_5555_5555;
    x = (x | x >> 1) & 0x3333_3333_3333_3333;
    x = (x | x >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    x = (x | x >> 4) & 0x00ff_00ff_00ff_00ff;
    x = (x | x >> 8) & 0x0000_ffff_0000_ffff;
    (x | x >> 16) as u32
}

/// All places whose keys begin with these bits.
#[derive(Clone, Copy, Debug)]
struct Tile {
    /// The bits, at the low end.
    prefix: u64,
    /// How many pairs of bits they are.
    level: u32,
}

/// Where a tile lies, in degrees.
#[derive(Clone, Copy, Debug)]
struct Area {
    south: f64,
    north: f64,
    west: f64,
    east: f64,
}

impl Tile {
    fn quarters(self) -> impl Iterator<Item = Self> {
        (0..4).map(move |quarter| Self { prefix: self.prefix << 2 | quarter, level: self.level + 1 })
    }

    fn range(&self) -> (u64, u64) {
        let below = 2 * (LEVELS - self.level);
        let first = self.prefix.checked_shl(below).unwrap_or(0);
        (first, first | 1_u64.checked_shl(below).unwrap_or(0).wrapping_sub(1))
    }

    fn area(self) -> Area {
        let size = 2_f64.powi(-(self.level as i32));
        let (x, y) = (f64::from(gather(self.prefix >> 1)), f64::from(gather(self.prefix)));
        Area {
            south: y * size * 180.0 - 90.0 - SLACK_DEGREES,
            north: (y + 1.0) * size * 180.0 - 90.0 + SLACK_DEGREES,
            west: x * size * 360.0 - 180.0 - SLACK_DEGREES,
            east: (x + 1.0) * size * 360.0 - 180.0 + SLACK_DEGREES,
        }
    }
}

impl Area {
    fn center(&self) -> GeoPoint {
        GeoPoint { lat: (self.south + self.north) / 2.0, lon: (self.west + self.east) / 2.0 }
    }
}

/// How a tile lies to a shape. When in doubt, across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Inside,
    Across,
    Outside,
}

fn relate(shape: &Shape, area: &Area) -> Relation {
    match shape {
        Shape::Box(shape) => relate_box(shape, area),
        Shape::Radius(shape) => relate_radius(shape, area),
        Shape::Polygon(shape) => relate_polygon(shape, area),
    }
}

fn relate_box(shape: &GeoBox, area: &Area) -> Relation {
    let (west, east) = (shape.top_left.lon, shape.bottom_right.lon);
    let lat = intervals((area.south, area.north), (shape.bottom_right.lat, shape.top_left.lat));
    let lon = if west <= east {
        intervals((area.west, area.east), (west, east))
    } else {
        // Outside of a box that crosses the antimeridian is the strip between its borders. Without them: but tiles
        // are taken to be larger than they are, so one inside of the strip does not touch its borders.
        match intervals((area.west, area.east), (east, west)) {
            Relation::Inside => Relation::Outside,
            Relation::Outside => Relation::Inside,
            _ => Relation::Across,
        }
    };
    match (lat, lon) {
        (Relation::Outside, _) | (_, Relation::Outside) => Relation::Outside,
        (Relation::Inside, Relation::Inside) => Relation::Inside,
        _ => Relation::Across,
    }
}

fn intervals(inner: (f64, f64), outer: (f64, f64)) -> Relation {
    if inner.0 >= outer.0 && inner.1 <= outer.1 {
        Relation::Inside
    } else if inner.1 < outer.0 || inner.0 > outer.1 {
        Relation::Outside
    } else {
        Relation::Across
    }
}

/// Any place of the area is reached from its center along a meridian, then along a parallel.
fn relate_radius(shape: &GeoRadius, area: &Area) -> Relation {
    let center = area.center();
    let nearest_equator =
        if area.south <= 0.0 && area.north >= 0.0 { 0.0 } else { area.south.abs().min(area.north.abs()) };
    let half_lat = ((area.north - area.south) / 2.0).to_radians();
    let half_lon = ((area.east - area.west) / 2.0).to_radians() * nearest_equator.to_radians().cos().max(0.0);
    let reach = EARTH_RADIUS_METERS * (half_lat + half_lon) + SLACK_METERS;
    let distance = shape.center.distance(center);
    if distance + reach <= shape.radius_meters {
        Relation::Inside
    } else if distance - reach > shape.radius_meters {
        Relation::Outside
    } else {
        Relation::Across
    }
}

/// How far computed distances may be off, on the far side of the earth.
const SLACK_METERS: f64 = 1.0;

fn relate_polygon(shape: &GeoPolygon, area: &Area) -> Relation {
    if shape.lines().any(|(a, b)| touches(a, b, area)) {
        Relation::Across
    } else if shape.contains(area.center()) {
        Relation::Inside
    } else {
        Relation::Outside
    }
}

/// Whether a line may touch an area: their bounds overlap, and the area's corners are not all on one side of it.
fn touches(a: GeoPoint, b: GeoPoint, area: &Area) -> bool {
    let apart = a.lat.max(b.lat) < area.south
        || a.lat.min(b.lat) > area.north
        || a.lon.max(b.lon) < area.west
        || a.lon.min(b.lon) > area.east;
    if apart {
        return false;
    }
    let side = |lat: f64, lon: f64| (b.lon - a.lon) * (lat - a.lat) - (b.lat - a.lat) * (lon - a.lon);
    let sides = [
        side(area.south, area.west),
        side(area.south, area.east),
        side(area.north, area.west),
        side(area.north, area.east),
    ];
    !(sides.iter().all(|&side| side > ROUNDING) || sides.iter().all(|&side| side < -ROUNDING))
}

/// How far the products of `touches` may be off: of degrees no larger than 360, in f64.
const ROUNDING: f64 = 1e-9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_hold_the_places_whose_keys_they_begin() {
        for (lat, lon) in [(0.0, 0.0), (52.5, 13.4), (-90.0, -180.0), (90.0, 180.0), (-33.9, 151.2)] {
            let key = tile_of(GeoPoint { lat, lon });
            for level in 0..=LEVELS {
                let prefix = key.checked_shr(2 * (LEVELS - level)).unwrap_or(0);
                let tile = Tile { prefix, level };
                let (first, last) = tile.range();
                assert!((first..=last).contains(&key), "{lat} {lon} at level {level}");
                let area = tile.area();
                assert!((area.south..=area.north).contains(&lat), "{lat} in {area:?}");
                assert!((area.west..=area.east).contains(&lon), "{lon} in {area:?}");
            }
        }
    }

    #[test]
    fn covers_are_small_and_mostly_inside() {
        let berlin = GeoPoint { lat: 52.52, lon: 13.4 };
        let cover = cover(&Shape::Radius(GeoRadius { center: berlin, radius_meters: 50_000.0 }));
        let tiles =
            |ranges: &Ranges| ranges.iter().map(|(first, last)| (last - first) as f64 + 1.0).sum::<f64>();
        assert!(cover.inside.len() + cover.border.len() <= RANGES_MAX);
        assert!(tiles(&cover.inside) > 0.5 * tiles(&cover.border), "{cover:?}");
        assert!(cover.border.iter().all(|(first, last)| first <= last));
    }

    #[test]
    fn bits_are_spread_and_gathered() {
        assert_eq!(spread(0b1011), 0b0100_0101);
        for bits in [0, 1, u32::MAX, 0xdead_beef] {
            assert_eq!(gather(spread(bits)), bits);
            assert_eq!(gather(spread(bits) << 1), 0);
        }
    }
}
