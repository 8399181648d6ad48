//! Places on the earth, and shapes that contain them.

use crate::value::Value;

/// The earth's mean radius, as haversine distances use it.
pub(crate) const EARTH_RADIUS_METERS: f64 = 6_371_008.8;

/// A place on the earth, in degrees.
///
/// In a payload it is an object with the members `lon` and `lat`; whatever else it has is not looked at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoPoint {
    /// North of the equator, -90 to 90.
    pub lat: f64,
    /// East of Greenwich, -180 to 180.
    pub lon: f64,
}

/// All that lies between two parallels and two meridians, both included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoBox {
    /// The corner in the north-west.
    pub top_left: GeoPoint,
    /// The corner in the south-east. If it lies west of the other, the box crosses the antimeridian.
    pub bottom_right: GeoPoint,
}

/// All that is no farther from a place than a distance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GeoRadius {
    /// The place.
    pub center: GeoPoint,
    /// The distance along the earth's surface.
    pub radius_meters: f64,
}

/// All that lies inside of a ring and of no hole, both borders included; straight lines are straight in degrees. A
/// ring does not cross the antimeridian.
#[derive(Clone, Debug, PartialEq)]
pub struct GeoPolygon {
    /// The ring around everything: four points at least, the last one equal to the first.
    pub exterior: Vec<GeoPoint>,
    /// The rings around the holes, alike.
    pub interiors: Vec<Vec<GeoPoint>>,
}

/// A shape of a filter that was checked.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Between parallels and meridians.
    Box(GeoBox),
    /// Around a place.
    Radius(GeoRadius),
    /// Inside of a ring.
    Polygon(GeoPolygon),
}

impl GeoPoint {
    /// The place that a value names, if it names one on the earth.
    pub fn of(value: &Value) -> Option<Self> {
        let members = value.as_object()?;
        let degrees = |key| members.get(key).and_then(Value::as_number).map(|number| number.as_f64());
        let point = Self { lat: degrees("lat")?, lon: degrees("lon")? };
        point.is_on_earth().then_some(point)
    }

    /// Whether both angles are in range, so neither is NaN.
    pub(crate) fn is_on_earth(self) -> bool {
        self.lat.abs() <= 90.0 && self.lon.abs() <= 180.0
    }

    /// Meters to another place along the surface.
    pub(crate) fn distance(self, other: Self) -> f64 {
        let (a, b) = (self.lat.to_radians(), other.lat.to_radians());
        let half_lon = (other.lon - self.lon).to_radians() / 2.0;
        let chord = ((b - a) / 2.0).sin().powi(2) + a.cos() * b.cos() * half_lon.sin().powi(2);
        2.0 * EARTH_RADIUS_METERS * chord.sqrt().min(1.0).asin()
    }
}

impl Shape {
    /// Whether a place lies in the shape.
    pub fn contains(&self, point: GeoPoint) -> bool {
        match self {
            Self::Box(shape) => shape.contains(point),
            Self::Radius(shape) => shape.center.distance(point) <= shape.radius_meters,
            Self::Polygon(shape) => shape.contains(point),
        }
    }
}

impl GeoBox {
    fn contains(&self, point: GeoPoint) -> bool {
        let (west, east) = (self.top_left.lon, self.bottom_right.lon);
        let lon = if west <= east {
            (west..=east).contains(&point.lon)
        } else {
            point.lon >= west || point.lon <= east
        };
        lon && (self.bottom_right.lat..=self.top_left.lat).contains(&point.lat)
    }
}

impl GeoPolygon {
    pub(crate) fn contains(&self, point: GeoPoint) -> bool {
        ring_side(&self.exterior, point) != Side::Outside
            && self.interiors.iter().all(|hole| ring_side(hole, point) != Side::Inside)
    }

    /// All lines of the borders.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (GeoPoint, GeoPoint)> {
        let rings = std::iter::once(&self.exterior).chain(&self.interiors);
        rings.flat_map(|ring| ring.windows(2).map(|line| (line[0], line[1])))
    }
}

/// Where a place lies, seen from a ring.
#[derive(PartialEq)]
enum Side {
    Inside,
    Border,
    Outside,
}

/// Counts the lines that a ray to the east crosses.
fn ring_side(ring: &[GeoPoint], point: GeoPoint) -> Side {
    let mut inside = false;
    for line in ring.windows(2) {
        let (a, b) = (line[0], line[1]);
        if on_line(a, b, point) {
            return Side::Border;
        }
        if (a.lat > point.lat) != (b.lat > point.lat) {
            let lon = a.lon + (point.lat - a.lat) / (b.lat - a.lat) * (b.lon - a.lon);
            inside ^= point.lon < lon;
        }
    }
    if inside { Side::Inside } else { Side::Outside }
}

fn on_line(a: GeoPoint, b: GeoPoint, point: GeoPoint) -> bool {
    let cross = (b.lon - a.lon) * (point.lat - a.lat) - (b.lat - a.lat) * (point.lon - a.lon);
    let between = |a: f64, b: f64, x: f64| (a.min(b)..=a.max(b)).contains(&x);
    cross == 0.0 && between(a.lat, b.lat, point.lat) && between(a.lon, b.lon, point.lon)
}
