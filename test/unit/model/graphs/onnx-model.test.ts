import { expect, it } from 'vitest';
import { ProtoWriter } from '../../../../src/model/graphs/onnx-model.ts';

const hex = (writer: ProtoWriter): string => Buffer.from(writer.finish()).toString('hex');

it('writes the examples of the protobuf encoding guide', () => {
  expect(hex(new ProtoWriter().varint(1, 150))).toBe('089601');
  expect(hex(new ProtoWriter().string(2, 'testing'))).toBe('120774657374696e67');
  expect(hex(new ProtoWriter().message(3, new ProtoWriter().varint(1, 150)))).toBe('1a03089601');
  expect(hex(new ProtoWriter().varint(1, -2))).toBe('08feffffffffffffffff01');
});

it('writes offsets beyond 32 bits, floats, field numbers above 15 and long byte fields', () => {
  expect(hex(new ProtoWriter().varint(1, 2 ** 35))).toBe('08808080808001');
  expect(hex(new ProtoWriter().float(2, 1))).toBe('150000803f');
  expect(hex(new ProtoWriter().varint(20, 7))).toBe('a00107');
  const long = new ProtoWriter().bytes(9, new Uint8Array(300).fill(1)).finish();
  expect([...long.subarray(0, 4), long.length]).toEqual([0x4a, 0xac, 0x02, 1, 303]);
});
