import { describe, expect, test } from 'vitest';
import { PacketTally, type Packet } from '../../../src/media/packet-tally.ts';

/** Packets in the order of the file, one a second by their decoding time: `K5` is a key frame shown at 5 s. */
function tallyOf(packets: string, change: (at: number) => Partial<Packet> = () => ({})): PacketTally {
  const tally = new PacketTally();
  for (const [at, text] of packets.split(' ').entries()) {
    const pts = Number(text.replace(/\D/g, ''));
    const packet = { pts, dts: at, duration: 1, isKey: text.startsWith('K'), isHidden: text.endsWith('D') };
    tally.add({ ...packet, ...change(at) });
  }
  return tally;
}

describe('frames of a track', () => {
  test.each([
    ['K0 1 2 3', 4, 0],
    ['K0 3 1 2 K4 7 5 6', 8, 0],
    // an open group of pictures: those before the key frame on the screen refer to what is not there
    ['K3 0 1 2 6 4 5', 4, 3],
    // the file begins between two key frames
    ['0 1 K3 2 4 5 6 7', 5, 3],
    // the second key frame loses nothing
    ['K0 1 K5 2 3 4 6', 7, 0],
    // an edit list hides the first ones, but they are decoded
    ['K0D 1D 2 3 4', 3, 0],
    // nothing is marked as a key frame, or only the end is
    ['0 1 2 3', 4, 0],
    ['0 1 2 K3', 4, 0],
  ])('%s: %i frames, %i lost at the start', (packets, frames, orphans) => {
    const tally = tallyOf(packets);
    expect([tally.frames(false), tally.orphans]).toEqual([frames, orphans]);
  });

  test('at the same time are one in a codec that stores hidden pictures', () => {
    const tally = tallyOf('K0 1 1 2 3 3');
    expect([tally.frames(true), tally.frames(false), tally.packets]).toEqual([4, 6, 6]);
  });
});

test('keeps times and sizes of frames, and the times of key frames, where it is asked to', () => {
  const tally = new PacketTally(true);
  for (const [dts, pts] of [0, 3, 1, 2, 4].entries())
    tally.add({ pts, dts, duration: 1, isKey: pts % 4 === 0, isHidden: false, bytes: 100 + pts });
  expect(tally.frameBytes(5)).toEqual(Uint32Array.of(100, 101, 102, 103, 104));
  expect(tally.keyTimes(5)).toEqual(Float64Array.of(0, 4));
  expect([tally.keyTimes(4), tallyOf('K0 1 K2').keyTimes(3)]).toEqual([undefined, undefined]);
});

test('tells how uneven frames are spread over time, however many there are', () => {
  const spread = (times: readonly number[]): number => {
    const tally = new PacketTally();
    for (const [at, pts] of times.entries()) tally.add({ pts, dts: at, duration: 1, isKey: at === 0, isHidden: false });
    return tally.unevenness;
  };
  const even = Array.from({ length: 10_000 }, (_, frame) => frame / 30);
  expect(spread(even)).toBeLessThan(0.01);
  expect(spread([0, 3, 1, 2, 6, 4, 5])).toBe(0);
  const slowThenFast = even.map((time, frame) => (frame < 100 ? frame * 60 : 6000 + time));
  expect(spread(slowThenFast)).toBeGreaterThan(0.9);
  expect([spread([]), spread([1]), spread([1, 1])]).toEqual([0, 0, 0]);
});

describe('seconds of a track', () => {
  test('do not count what is before the first packet', () => {
    const tally = tallyOf('K900 901 902');
    expect([tally.seconds(false), tally.span]).toEqual([3, [900, 902]]);
  });

  test('go on where the clock starts anew', () => {
    const clock = [0, 1, 2, 0, 1, 2];
    const tally = tallyOf('K0 1 2 K0 1 2', (at) => ({ dts: clock[at] }));
    expect([tally.seconds(false), tally.seconds(true)]).toEqual([6, 6]);
  });

  test('leave out a gap where the clock may break, and only there', () => {
    const tally = tallyOf('K0 1 50002', (at) => ({ dts: at === 2 ? 50_002 : at }));
    expect([tally.seconds(false), tally.seconds(true)]).toEqual([50_003, 3]);
  });

  test('are the sum of the packets where each tells its own', () => {
    expect(tallyOf('K0 1 9').summedSeconds).toBe(3);
    expect(tallyOf('K0 1 9', (at) => ({ duration: at === 1 ? undefined : 1 })).summedSeconds).toBeUndefined();
  });

  test('are unknown without times', () => {
    const tally = tallyOf('K0 1 2', () => ({ pts: undefined, dts: undefined }));
    expect([tally.seconds(false), tally.span, tally.frames(true)]).toEqual([undefined, undefined, 3]);
    expect(new PacketTally().seconds(true)).toBeUndefined();
  });
});
