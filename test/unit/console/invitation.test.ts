import { expect, test } from 'bun:test';
import { readInvitation } from '../../../src/console/views/login.tsx';

test('an invitation’s link fills the form, whatever stands in names and addresses', () => {
  const said = { tenant: 'Ä & Ö #1', email: 'a+b@example.com', invite: 'a_b-c' };
  expect(readInvitation(`#/join?${new URLSearchParams(said)}`)).toEqual(said);
});

test.each(['', '#/c/01985f2c-40aa-7be5-93d0-a1b2c3d4e001', '#/join?tenant=x&email=y', '#/join'])(
  '%j is none',
  (hash) => {
    expect(readInvitation(hash)).toBeNull();
  },
);
