;; The loops of `scan-kernel.ts`. Compiled into it: `test/unit/retrieval/scan-kernel.test.ts` compiles this again and compares.
(module
  (import "scan" "memory" (memory 1))

  ;; Hamming distances (16 bits each, at $out) of $count codes of $width bytes, a multiple of 16, from the one at $query.
  (func (export "hamming") (param $codes i32) (param $count i32) (param $width i32) (param $query i32) (param $out i32)
    (local $at i32) (local $sum v128)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $sum (v128.const i64x2 0 0))
      (local.set $at (i32.const 0))
      (loop $word
        (local.set $sum (i16x8.add (local.get $sum) (i16x8.extadd_pairwise_i8x16_u (i8x16.popcnt (v128.xor
          (v128.load (i32.add (local.get $codes) (local.get $at)))
          (v128.load (i32.add (local.get $query) (local.get $at))))))))
        (local.set $at (i32.add (local.get $at) (i32.const 16)))
        (br_if $word (i32.lt_u (local.get $at) (local.get $width))))
      (local.set $sum (i32x4.extadd_pairwise_i16x8_u (local.get $sum)))
      (i32.store16 (local.get $out) (i32.add
        (i32.add (i32x4.extract_lane 0 (local.get $sum)) (i32x4.extract_lane 1 (local.get $sum)))
        (i32.add (i32x4.extract_lane 2 (local.get $sum)) (i32x4.extract_lane 3 (local.get $sum)))))
      (local.set $codes (i32.add (local.get $codes) (local.get $width)))
      (local.set $out (i32.add (local.get $out) (i32.const 2)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next))))

  ;; Inner products (floats, at $out) of $count vectors with the floats at $query. A vector is $dimensions halves, a multiple
  ;; of 8. A half, moved up by 13 bits with its sign left where it is, is a float that is 2^112 too small: the query is that
  ;; much larger.
  (func (export "products") (param $vectors i32) (param $count i32) (param $dimensions i32) (param $query i32) (param $out i32)
    (local $q i32) (local $end i32) (local $a v128) (local $b v128) (local $mask v128)
    (local.set $mask (v128.const i32x4 0x8fffe000 0x8fffe000 0x8fffe000 0x8fffe000))
    (local.set $end (i32.add (local.get $query) (i32.shl (local.get $dimensions) (i32.const 2))))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $a (v128.const i64x2 0 0))
      (local.set $b (v128.const i64x2 0 0))
      (local.set $q (local.get $query))
      (loop $eight
        (local.set $a (f32x4.add (local.get $a) (f32x4.mul (v128.load (local.get $q)) (v128.and (local.get $mask)
          (i32x4.shl (v128.load16x4_s (local.get $vectors)) (i32.const 13))))))
        (local.set $b (f32x4.add (local.get $b) (f32x4.mul (v128.load offset=16 (local.get $q)) (v128.and (local.get $mask)
          (i32x4.shl (v128.load16x4_s offset=8 (local.get $vectors)) (i32.const 13))))))
        (local.set $vectors (i32.add (local.get $vectors) (i32.const 16)))
        (local.set $q (i32.add (local.get $q) (i32.const 32)))
        (br_if $eight (i32.lt_u (local.get $q) (local.get $end))))
      (local.set $a (f32x4.add (local.get $a) (local.get $b)))
      (f32.store (local.get $out) (f32.add
        (f32.add (f32x4.extract_lane 0 (local.get $a)) (f32x4.extract_lane 1 (local.get $a)))
        (f32.add (f32x4.extract_lane 2 (local.get $a)) (f32x4.extract_lane 3 (local.get $a)))))
      (local.set $out (i32.add (local.get $out) (i32.const 4)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $next))))

  ;; Makes floats (at $to) of $count halves, a multiple of 8. What is subnormal as a half is an ordinary float, which later
  ;; products do not stumble over.
  (func (export "widen") (param $halves i32) (param $count i32) (param $to i32)
    (local $end i32) (local $mask v128) (local $scale v128)
    (local.set $mask (v128.const i32x4 0x8fffe000 0x8fffe000 0x8fffe000 0x8fffe000))
    (local.set $scale (f32x4.splat (f32.const 0x1p112)))
    (local.set $end (i32.add (local.get $halves) (i32.shl (local.get $count) (i32.const 1))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $halves) (local.get $end)))
      (v128.store (local.get $to) (f32x4.mul (local.get $scale) (v128.and (local.get $mask)
        (i32x4.shl (v128.load16x4_s (local.get $halves)) (i32.const 13)))))
      (local.set $halves (i32.add (local.get $halves) (i32.const 8)))
      (local.set $to (i32.add (local.get $to) (i32.const 16)))
      (br $next))))

  ;; As "products", in the same order of additions, but of floats: four vectors at a time. $count is a multiple of four.
  (func (export "dots") (param $vectors i32) (param $count i32) (param $dimensions i32) (param $query i32) (param $out i32)
    (local $q i32) (local $end i32) (local $width i32) (local $qa v128) (local $qb v128)
    (local $r0 i32) (local $r1 i32) (local $r2 i32) (local $r3 i32)
    (local $a0 v128) (local $a1 v128) (local $a2 v128) (local $a3 v128)
    (local $b0 v128) (local $b1 v128) (local $b2 v128) (local $b3 v128)
    (local.set $width (i32.shl (local.get $dimensions) (i32.const 2)))
    (local.set $end (i32.add (local.get $query) (local.get $width)))
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $r0 (local.get $vectors))
      (local.set $r1 (i32.add (local.get $r0) (local.get $width)))
      (local.set $r2 (i32.add (local.get $r1) (local.get $width)))
      (local.set $r3 (i32.add (local.get $r2) (local.get $width)))
      (local.set $a0 (v128.const i64x2 0 0)) (local.set $b0 (v128.const i64x2 0 0))
      (local.set $a1 (v128.const i64x2 0 0)) (local.set $b1 (v128.const i64x2 0 0))
      (local.set $a2 (v128.const i64x2 0 0)) (local.set $b2 (v128.const i64x2 0 0))
      (local.set $a3 (v128.const i64x2 0 0)) (local.set $b3 (v128.const i64x2 0 0))
      (local.set $q (local.get $query))
      (loop $eight
        (local.set $qa (v128.load (local.get $q)))
        (local.set $qb (v128.load offset=16 (local.get $q)))
        (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $qa) (v128.load (local.get $r0)))))
        (local.set $b0 (f32x4.add (local.get $b0) (f32x4.mul (local.get $qb) (v128.load offset=16 (local.get $r0)))))
        (local.set $r0 (i32.add (local.get $r0) (i32.const 32)))
        (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $qa) (v128.load (local.get $r1)))))
        (local.set $b1 (f32x4.add (local.get $b1) (f32x4.mul (local.get $qb) (v128.load offset=16 (local.get $r1)))))
        (local.set $r1 (i32.add (local.get $r1) (i32.const 32)))
        (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $qa) (v128.load (local.get $r2)))))
        (local.set $b2 (f32x4.add (local.get $b2) (f32x4.mul (local.get $qb) (v128.load offset=16 (local.get $r2)))))
        (local.set $r2 (i32.add (local.get $r2) (i32.const 32)))
        (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $qa) (v128.load (local.get $r3)))))
        (local.set $b3 (f32x4.add (local.get $b3) (f32x4.mul (local.get $qb) (v128.load offset=16 (local.get $r3)))))
        (local.set $r3 (i32.add (local.get $r3) (i32.const 32)))
        (local.set $q (i32.add (local.get $q) (i32.const 32)))
        (br_if $eight (i32.lt_u (local.get $q) (local.get $end))))
      (local.set $a0 (f32x4.add (local.get $a0) (local.get $b0)))
      (f32.store offset=0 (local.get $out) (f32.add
        (f32.add (f32x4.extract_lane 0 (local.get $a0)) (f32x4.extract_lane 1 (local.get $a0)))
        (f32.add (f32x4.extract_lane 2 (local.get $a0)) (f32x4.extract_lane 3 (local.get $a0)))))
      (local.set $a1 (f32x4.add (local.get $a1) (local.get $b1)))
      (f32.store offset=4 (local.get $out) (f32.add
        (f32.add (f32x4.extract_lane 0 (local.get $a1)) (f32x4.extract_lane 1 (local.get $a1)))
        (f32.add (f32x4.extract_lane 2 (local.get $a1)) (f32x4.extract_lane 3 (local.get $a1)))))
      (local.set $a2 (f32x4.add (local.get $a2) (local.get $b2)))
      (f32.store offset=8 (local.get $out) (f32.add
        (f32.add (f32x4.extract_lane 0 (local.get $a2)) (f32x4.extract_lane 1 (local.get $a2)))
        (f32.add (f32x4.extract_lane 2 (local.get $a2)) (f32x4.extract_lane 3 (local.get $a2)))))
      (local.set $a3 (f32x4.add (local.get $a3) (local.get $b3)))
      (f32.store offset=12 (local.get $out) (f32.add
        (f32.add (f32x4.extract_lane 0 (local.get $a3)) (f32x4.extract_lane 1 (local.get $a3)))
        (f32.add (f32x4.extract_lane 2 (local.get $a3)) (f32x4.extract_lane 3 (local.get $a3)))))
      (local.set $vectors (i32.add (local.get $vectors) (i32.shl (local.get $width) (i32.const 2))))
      (local.set $out (i32.add (local.get $out) (i32.const 16)))
      (local.set $count (i32.sub (local.get $count) (i32.const 4)))
      (br $next))))

  ;; Rounds $count floats (a multiple of 4) in their place: to five decimals, and then to the nearest half. The decimals are
  ;; computed with doubles, as JavaScript does; the half by Veltkamp's splitting, or below 2^-14 by its last place.
  (func (export "halves") (param $at i32) (param $count i32)
    (local $end i32) (local $value v128) (local $split v128)
    (local.set $end (i32.add (local.get $at) (i32.shl (local.get $count) (i32.const 2))))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
      (local.set $value (v128.load (local.get $at)))
      (local.set $value (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
        (f32x4.demote_f64x2_zero (f64x2.div (f64x2.floor (f64x2.add (f64x2.splat (f64.const 0.5))
          (f64x2.mul (f64x2.splat (f64.const 100000)) (f64x2.promote_low_f32x4 (local.get $value)))))
          (f64x2.splat (f64.const 100000))))
        (f32x4.demote_f64x2_zero (f64x2.div (f64x2.floor (f64x2.add (f64x2.splat (f64.const 0.5))
          (f64x2.mul (f64x2.splat (f64.const 100000)) (f64x2.promote_low_f32x4
            (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $value) (local.get $value))))))
          (f64x2.splat (f64.const 100000))))))
      (local.set $split (f32x4.mul (local.get $value) (f32x4.splat (f32.const 8193))))
      (v128.store (local.get $at) (v128.bitselect
        (f32x4.sub (f32x4.add (local.get $value) (f32x4.splat (f32.const 0.75))) (f32x4.splat (f32.const 0.75)))
        (f32x4.sub (local.get $split) (f32x4.sub (local.get $split) (local.get $value)))
        (f32x4.lt (f32x4.abs (local.get $value)) (f32x4.splat (f32.const 0x1p-14)))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br $next)))))
