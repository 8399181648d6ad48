//! Bytes as other systems write them.

use super::super::*;

const INPUT: [f32; 8] = [0., 1., 2., 3., 4., 5., 6., 7.5];

fn row_of(codec: &impl RowCodec, values: &[f32]) -> Vec<u8> {
    let mut row = vec![0xAA; codec.row_bytes()];
    codec.encode(values, &mut row);
    row
}

fn rowwise(bits: usize, dialect: Dialect) -> RowwiseCodec {
    RowwiseCodec::new(8, bits, dialect).unwrap()
}

#[test]
fn rows_of_fbgemm_and_torch_come_out_byte_by_byte() {
    assert_eq!(
        row_of(&rowwise(8, Dialect::Fused32), &INPUT),
        [0, 34, 68, 102, 136, 170, 204, 255, 241, 240, 240, 60, 0, 0, 0, 0]
    );
    assert_eq!(row_of(&rowwise(4, Dialect::Fused16), &INPUT), [32, 100, 168, 252, 0, 56, 0, 0]);
    assert_eq!(row_of(&rowwise(2, Dialect::Fused16), &INPUT), [80, 234, 0, 65, 0, 0]);
}

#[test]
fn rows_of_tbe_have_the_scale_first_and_are_filled_up() {
    assert_eq!(row_of(&rowwise(4, Dialect::Tbe), &INPUT), [0, 56, 0, 0, 32, 100, 168, 252]);
    assert_eq!(row_of(&rowwise(2, Dialect::Tbe), &INPUT), [0, 65, 0, 0, 80, 234]);
    let aligned = rowwise(2, Dialect::Tbe).aligned(16).unwrap();
    assert_eq!(row_of(&aligned, &INPUT), [0, 65, 0, 0, 80, 234, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    // The codes of 8 bits with an f32 scale, and the scale rounded afterwards: 7.5/255 is 0.0294117…, 0x2788 in f16.
    assert_eq!(
        row_of(&rowwise(8, Dialect::TbeCast), &INPUT),
        [0x88, 0x27, 0, 0, 0, 34, 68, 102, 136, 170, 204, 255]
    );
}

#[test]
fn rows_without_a_range_keep_their_value() {
    for value in [0.0, 1.0, -0.5, 1024.0] {
        for (bits, dialect) in
            [(8, Dialect::Fused32), (8, Dialect::Fused16), (4, Dialect::Tbe), (2, Dialect::Fused16)]
        {
            let codec = rowwise(bits, dialect);
            let mut back = [0.0; 8];
            codec.decode(&row_of(&codec, &[value; 8]), &mut back);
            assert_eq!(back, [value; 8], "{bits} {dialect:?}");
        }
    }
    // So small that the scale is no f16: it becomes 1.
    assert_eq!(row_of(&rowwise(4, Dialect::Fused16), &[1e-30; 8]), [0, 0, 0, 0, 0, 60, 0, 0]);
}

#[test]
fn codes_of_the_study_are_unsigned_around_the_middle() {
    let codec = UniformCodec::new(4, 8, 0.01, 0.0).unwrap();
    assert_eq!(row_of(&codec, &[0.0, 0.01, -1.28, 5.0]), [128, 129, 0, 255]);
    let wide = UniformCodec::new(2, 16, 0.01, 1.0).unwrap();
    assert_eq!(row_of(&wide, &[1.0, 1.02]), [0x00, 0x80, 0x02, 0x80]);
}

#[test]
fn codes_with_a_step_are_signed() {
    let codec = StepCodec::new(4, 8).unwrap();
    let mut row = vec![127, 0x81, 0, 64];
    row.extend_from_slice(&(1.0f32 / 127.0).to_le_bytes());
    assert_eq!(row_of(&codec, &[1.0, -1.0, 0.0, 0.5]), row);
}

#[test]
fn plain_values_are_little_endian() {
    let row = |kind| row_of(&FloatCodec::new(2, kind), &[1.0, -0.0]);
    assert_eq!(row(FloatType::F32), [0, 0, 0x80, 0x3F, 0, 0, 0, 0x80]);
    assert_eq!(row(FloatType::F16), [0, 0x3C, 0, 0x80]);
    assert_eq!(row(FloatType::Bf16), [0x80, 0x3F, 0, 0x80]);
    for kind in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
        let mut back = [1.0; 2];
        FloatCodec::new(2, kind).decode(&row(kind), &mut back);
        assert_eq!(back.map(f32::to_bits), [0x3F80_0000, 0x8000_0000]);
    }
}
