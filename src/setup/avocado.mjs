#!/usr/bin/env node
// The `avocado` command. In a clone it first sets up what is missing. An installed package is complete.
import { existsSync } from 'node:fs';
import { setUp } from './set-up.mjs';

const main = new URL('../../dist/cli/main.js', import.meta.url);
const isClone = existsSync(new URL('../../package-lock.json', import.meta.url));
if (isClone || !existsSync(main)) setUp();
await import(main.href);
