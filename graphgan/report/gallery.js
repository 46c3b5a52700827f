// Shows the crystal of the chosen card in one 3-D viewer; without WebGL its still picture takes the viewer's place.
(function () {
  "use strict";
  const holder = document.getElementById("viewer");
  if (!holder) return;
  const crystals = JSON.parse(document.getElementById("crystal-data").textContent);
  const cards = Array.from(document.querySelectorAll(".card"));
  let viewer = null;
  // The viewer stays silently blank without WebGL, so ask the browser first.
  const probe = document.createElement("canvas");
  if (probe.getContext("webgl2") || probe.getContext("webgl")) {
    try {
      viewer = $3Dmol.createViewer(holder, {backgroundColor: "white", orthographic: true, antialias: true});
    } catch (error) {
      viewer = null;
    }
  }

  function draw(crystal) {
    viewer.removeAllModels();
    viewer.removeAllShapes();
    const atoms = crystal.atoms.map(([kind, x, y, z], serial) => ({
      elem: crystal.elements[kind].symbol, x, y, z, serial, bonds: [], bondOrder: [],
      color: crystal.elements[kind].colour, properties: {kind},
    }));
    for (const [i, j] of crystal.bonds) {
      atoms[i].bonds.push(j); atoms[i].bondOrder.push(1);
      atoms[j].bonds.push(i); atoms[j].bondOrder.push(1);
    }
    const model = viewer.addModel();
    model.addAtoms(atoms);
    for (const element of crystal.elements) {
      viewer.setStyle({elem: element.symbol}, {
        sphere: {radius: element.radius, color: element.colour},
        stick: {radius: 0.09, color: element.colour},
      });
    }
    for (const [start, end] of crystal.edges) {
      const [a, b] = [start, end].map(([x, y, z]) => ({x, y, z}));
      viewer.addCylinder({start: a, end: b, radius: 0.025, color: "#8b98a9", fromCap: 1, toCap: 1});
    }
    // The same direction as in the still pictures: c upright, turned and tilted a little.
    viewer.setView([0, 0, 0, 0, ...crystal.view]);
    viewer.zoomTo();
    viewer.zoom(1.5);
    viewer.render();
  }

  function show(index) {
    const crystal = crystals[index];
    cards.forEach((card) => card.setAttribute("aria-pressed", String(Number(card.dataset.index) === index)));
    document.getElementById("facts").innerHTML = cards[index].querySelector(".facts").innerHTML;
    const legend = document.getElementById("legend");
    legend.textContent = "";
    for (const element of crystal.elements) {
      const entry = document.createElement("span");
      const dot = document.createElement("i");
      dot.style.background = element.colour;
      entry.append(dot, element.symbol);
      legend.append(entry);
    }
    if (viewer) {
      draw(crystal);
    } else {
      holder.innerHTML = '<div class="fallback">' + cards[index].querySelector("svg").outerHTML + "</div>";
    }
  }

  cards.forEach((card) => card.addEventListener("click", () => {
    show(Number(card.dataset.index));
    // On a phone the viewer is above the cards.
    if (window.matchMedia("(max-width: 760px)").matches) holder.scrollIntoView({behavior: "smooth", block: "start"});
  }));
  if (cards.length) show(0);
})();
