import { describe, expect, test } from 'bun:test';
import { createSealer } from '../../../src/kernel/sealing.ts';

const [OLD, NEW] = ['an old secret of more than 32 bytes, it is', 'a new secret of more than 32 bytes, it is'];
const plain = new TextEncoder().encode('whsec_ of somebody');
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const create = (secrets: string[], purpose = 'tests') => createSealer({ secrets, purpose });

describe('a sealed value', () => {
  test('comes out as it went in, and looks different each time', () => {
    const sealer = create([NEW]);
    const [one, two] = [sealer.seal(plain, 'row 1'), sealer.seal(plain, 'row 1')];
    expect(text(sealer.open(one, 'row 1'))).toBe('whsec_ of somebody');
    expect(Buffer.compare(one, two)).not.toBe(0);
    expect(Buffer.from(one).includes('whsec_')).toBe(false);
    expect(sealer.open(sealer.seal(new Uint8Array(), ''), '')).toHaveLength(0);
  });

  test('opens in its own row, for its own purpose and with its own secret alone', () => {
    const sealed = create([NEW]).seal(plain, 'row 1');
    expect(() => create([NEW]).open(sealed, 'row 2')).toThrow('cannot be opened');
    expect(() => create([NEW], 'something else').open(sealed, 'row 1')).toThrow('cannot be opened');
    expect(() => create([OLD]).open(sealed, 'row 1')).toThrow('cannot be opened');
  });

  test('does not open when a single byte of it was changed or is missing', () => {
    const sealer = create([NEW]);
    const sealed = sealer.seal(plain, 'row 1');
    for (let at = 0; at < sealed.length; at += 1) {
      const changed = Uint8Array.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => sealer.open(changed, 'row 1')).toThrow();
      expect(() => sealer.open(sealed.subarray(0, at), 'row 1')).toThrow();
    }
  });

  test('survives a new secret that is put before the old one, and says that it is old', () => {
    const sealed = create([OLD]).seal(plain, 'row 1');
    const rotated = create([NEW, OLD]);
    expect(text(rotated.open(sealed, 'row 1'))).toBe('whsec_ of somebody');
    expect([rotated.isOld(sealed), rotated.isOld(rotated.seal(plain, 'row 1'))]).toEqual([true, false]);
  });
});

test('without a secret nothing is sealed', () => {
  expect(() => create([])).toThrow('secret');
});
