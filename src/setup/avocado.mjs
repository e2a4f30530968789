#!/usr/bin/env node
// The `avocado` command. In a clone it first sets up what is missing. An installed package is complete.
import { existsSync } from 'node:fs';
import process from 'node:process';
import { setUp } from './set-up.mjs';

const main = new URL('../../dist/cli/main.js', import.meta.url);
const isClone = existsSync(new URL('../../package-lock.json', import.meta.url));
if (isClone || !existsSync(main)) setUp();
process.argv = process.argv.filter((word) => word !== '--no-install'); // read by the set-up
await import(main.href);
