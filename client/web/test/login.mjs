// The page of a daemon that asks for a token: node login.mjs URL TOKEN SHOTS_DIR
import assert from "node:assert/strict";
import { chrome, shown, step, until } from "./kit.mjs";

const [url, token, shots] = process.argv.slice(2);
const { blank, api, trouble, end } = await chrome(url, shots);
const right = { Authorization: "Bearer " + token };
const page = await blank();
await page.goto(url + "#c=state");
await page.waitForSelector("dialog[open]");
await page.screenshot({ path: shots + "/login.png" });
await page.fill("#token", "0123456789abcdef-but-wrong");
await page.keyboard.press("Enter");
await until(page, () => document.getElementById("login").open && document.getElementById("login-why").textContent !== "");
assert.equal((await shown(page)).length, 0);
await page.fill("#token", token);
await page.keyboard.press("Enter");
await page.waitForSelector("body[data-ready]");
await until(page, () => document.getElementById("live").textContent.startsWith("live"));
assert.deepEqual((await shown(page)).sort(), (await api("models", right)).models.map((m) => m.name).sort());
assert.ok((await shown(page)).length > 0);
assert.equal(await page.evaluate((t) => location.href.includes(t) || JSON.stringify(localStorage).includes(t) || document.cookie.includes(t), token), false);
await page.reload(); // of the same tab: it is not asked again
await page.waitForSelector("body[data-ready]");
assert.ok((await shown(page)).length > 0);
const other = await blank();
await other.goto(url);
await other.waitForSelector("dialog[open]");
assert.equal((await shown(other)).length, 0);
assert.deepEqual(trouble.filter((t) => !/\b401\b/.test(t)), []); // the browser reports what was refused
await end();
step("a token is asked for and kept in its tab");
