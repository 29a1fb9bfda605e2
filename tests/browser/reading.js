// Run in a page by reading.py: opens everything there is, and returns what was shown.
async () => {
    const channel = new MessageChannel(); // a timer waits 4 ms
    const later = () => new Promise(resolve => { channel.port1.onmessage = resolve; channel.port2.postMessage(0); });
    const until = async (done, what) => {
        for (const end = Date.now() + 10000; !done(); await later())
            if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    };
    const detail = () => document.querySelector(".detail");
    const said = node => {
        const copy = node.cloneNode(true);
        for (const tip of copy.querySelectorAll(".tip, style, script")) tip.remove();
        return copy.textContent;
    };
    const unfolded = async () => {
        let seen = "";
        for (const more of detail().querySelectorAll("button.more-text")) more.click();
        for (const knot of detail().querySelectorAll("g[role=button]")) {
            knot.dispatchEvent(new MouseEvent("click", {bubbles: true}));
            seen += "\n" + said(detail());
        }
        for (const fold of detail().querySelectorAll("details")) fold.open = true;
        return seen + "\n" + said(detail());
    };
    const odd = root => {
        const found = [];
        for (const node of root.querySelectorAll("*")) {
            for (const {name, value} of node.attributes) {
                const link = name === "href" && !value.startsWith("#") && !(node.matches("link[rel=icon]"));
                const style = name === "style" && !/^((height|transform): [^:]*; ?)*$/.test(value);
                const from = ["src", "srcdoc", "action", "formaction", "background", "poster"].includes(name);
                if (name.startsWith("on") || link || style || from) found.push(`${node.localName} ${name}=${value}`);
                if (BARE.test(value) && !name.startsWith("data-")) found.push(`${node.localName} ${name} holds ${JSON.stringify(value)}`);
            }
            for (const child of node.childNodes)
                if (child.nodeType === 3 && BARE.test(child.data) && !["script", "style"].includes(node.localName))
                    found.push(`${node.localName} holds ${JSON.stringify(child.data)}`);
        }
        return found;
    };
    const turned = root => {
        const apart = ["isolate", "plaintext", "isolate-override"], found = [];
        const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (walker.nextNode()) {
            const text = walker.currentNode;
            if (!/[\u0590-\u08ff]/.test(text.data) || text.parentElement.closest("script, title, desc")) continue;
            let node = text.parentElement;
            while (getComputedStyle(node).display === "inline" && !apart.includes(getComputedStyle(node).unicodeBidi))
                node = node.parentElement;
            const alone = node.textContent === text.data;
            if (!alone && !apart.includes(getComputedStyle(node).unicodeBidi))
                found.push(`${node.localName}.${node.className?.baseVal ?? node.className}: ${text.data.slice(0, 40)}`);
        }
        return found;
    };
    const BARE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f]|[\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}\ud800-\udfff]/u;

    await until(() => document.querySelectorAll(".group").length, "the groups");
    await until(() => detail().querySelector(".id"), "the first entry");
    for (const fold of document.querySelectorAll("main details")) fold.open = true;
    const still = said(document.querySelector("main"));
    for (const fold of document.querySelectorAll("main details")) fold.open = false; // the page is laid out faster
    const entries = [], tags = new Set(), strange = new Set(), mixed = new Set();
    const looked = root => {
        for (const one of odd(root)) strange.add(one);
        for (const one of turned(root)) mixed.add(one);
        for (const node of root.querySelectorAll("*")) tags.add(node.localName);
    };
    for (let at = 0; at < document.querySelectorAll(".group").length; at++) {
        const button = document.querySelectorAll(".group")[at], n = Number(button.querySelector(".n").textContent.replace(/\D/g, ""));
        button.click();
        await until(() => document.querySelectorAll(".group")[at]?.getAttribute("aria-current") === "true", "the group");
        const label = document.querySelectorAll(".group")[at].firstChild.textContent;
        for (let place = 0; place < n; place++) {
            const before = detail().querySelector(".parts");
            const chosen = document.querySelector(`.line[data-place="${place}"]`);
            if (chosen) chosen.click();
            else document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "j", bubbles: true}));
            await until(() => detail().querySelector(".parts") !== before && detail().querySelector(".parts"), `entry ${place} of ${label}`);
            entries.push({group: label, id: detail().querySelector(".id").textContent, text: await unfolded()});
            looked(detail());
        }
        looked(document);
    }
    return {still, entries, tags: [...tags], strange: [...strange], mixed: [...mixed]};
}
