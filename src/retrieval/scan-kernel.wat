;; The two loops of `scan-kernel.ts`. Compiled into it: `test/unit/retrieval/scan-kernel.test.ts` compiles this again and compares.
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
      (br $next)))))
