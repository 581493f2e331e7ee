// Are the structs that the binding describes those of nines.h? A program made of its field names prints the header's.

import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { check, tempDir } from '../rig.mjs';

const C_TYPES = { int64: 'int64_t', uint32: 'uint32_t', double: 'double', int: 'int', size_t: 'size_t' };

export function layout({ configs, koffi }, include) {
  const ours = [], lines = [];
  for (const [kind, { members, type }] of Object.entries(configs)) {
    const struct = `nines_${kind}_config`;
    ours.push(`${struct} ${koffi.sizeof(type)}`);
    lines.push(`printf("${struct} %zu\\n", sizeof(${struct}));`);
    for (const [member, its] of Object.entries({ size: 'size_t', ...members })) {
      ours.push(`${struct}.${member} ${koffi.offsetof(type, member)} 1`);
      lines.push(`printf("${struct}.${member} %zu %d\\n", offsetof(${struct}, ${member}), _Generic(((${struct} *)0)->${member}, ${C_TYPES[its]}: 1, default: 0));`);
    }
  }
  const dir = tempDir('node-layout'), source = path.join(dir, 'layout.c'), program = path.join(dir, 'layout');
  fs.writeFileSync(source, `#include <nines.h>\n#include <stdio.h>\nint main(void)\n{\n${lines.join('\n')}\n}\n`);
  const cc = spawnSync(process.env.CC || 'cc', ['-std=c11', '-I', include, source, '-o', program], { encoding: 'utf8' });
  if (!check(cc.status === 0, `the header has all fields of the binding ${cc.stderr || cc.error || ''}`)) return;
  const theirs = spawnSync(program, { encoding: 'utf8' }).stdout.trim().split('\n');
  const differ = ours.filter((line, i) => line !== theirs[i]).map((line) => `${line} (binding)`);
  check(differ.length === 0 && theirs.length === ours.length, `${ours.length} sizes, offsets and types of ${Object.keys(configs).length} structs as in the header ${differ.join(', ')}`);
}
