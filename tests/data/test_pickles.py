"""A pickle is a program; ours runs none of it."""

from __future__ import annotations

import base64
import datetime
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from trainer.data.pickles import load_pickle
from trainer.errors import InputError

FRAME = pd.DataFrame(
    {
        "id": ["a", "b", "c"],
        "label": ["x", "y", None],
        "price": [1.5, 2.0, np.nan],
        "n": [1, 2, 3],
        "ok": [True, False, True],
        "when": pd.to_datetime(["2020-01-01", "2021-01-01", None]),
        "kind": pd.Categorical(["u", "v", "u"]),
    }
)
FRAME["arrow"] = FRAME["id"].astype("string[pyarrow]")
FRAME["plain"] = FRAME["id"].astype(object)
FRAME["whole"] = pd.array([1, None, 3], dtype="Int64")

# FRAME without `plain`, written by pandas 2.2.3 and NumPy 1.26.4 with protocols 2 and 5: zlib, base 85.
OLD = {
    2: (
        "c-n<lXJFez6t?4xMjb$*gVnMTD^O@5ltSrXw4yFt8D<0_$x38m%l=Ms6GKf~z)r*7dqdf?td>p6-h1!8q3m7mo#c!*fPUzP?%w<Ed+&X"
        "xc~w@<aFd4DU}d@8(9DgDtxPq1V|Up@WV88*7Ez@psw0tzo@wET_1TefeVe;R+H1%duF+z1Pnn#~TCFpJk%DTqvR+T8Os{8yqUYUQ%4$"
        "v9x=A|})L3pllPd&<Gx@ZiGB`I1iq35->v}%VTfTzYV3i_l%CD%?A|(v4bSs;*El;ss>L{pBL<M9MN}^V@X~R#sV=%CcK@5XCFoa<hRf"
        "}p>TC9v!Lz79rkP|ysOH_#+GaE6qb3q4IXIMkkV$#|i42#F()0c}!zO;!xhMS#D7@^AV21bTn*OaY=wPf3lwPjntI&s^_x~8S;W<DiO="
        "<2%SrBjx0J4%ZPIMEJ_W>`<F>cIL88#pyits_skp(9{##IP~JjuPxmoB(NaBQ_<ZD#K<Kq!X}tU!)NqTbP|rePXRh<ypFTV%XcYGBFoh"
        "I)bCE7#e(RZ91cfAi}f_!x+M}EyH#_n8p&OaSYpcW7;9alxjpHVcL;lyujqFjAkc^W~5jf4N+8uZ7ggtfw1h%u#1n0ge9g`6P8^WCJ~m"
        "&3{!frOeHM4G3?%rWseYxIR<+YmT3&r3CpmRuxJuXOk#;*FLFDBA?{-)xvkb}$nD+?`;c44Fw3dwo7FNEMM~?rLVHhM$EQxB`N@XWY9|"
        "%!+oy7ZEe%P-xBXPc_NeS+Z&Hxf`%NERyR16if&Cc{2v0Jj5eYiUfeZ(!TJ=h-7ICmD4nj*^4~Nh>nivk1ghYMlWgO<iFe{XqM482q?5"
        "51_anwwXS{R)E9i@6XI-DG}GNdbxGG(|vvXa%&GL~J(buAg!b>7m2!$cLecU`!2(SF0jFn7&Ejtqc-`|!*nd^J%+a?{LhARm_ntXqcV*"
        "qB{Jo7AGboAS|KK~V7W9XNu5Rio8Xu#RMyL%}LC93^t3U+OJEcuSV2EF-N<>D9;F3ib0C=J(kt6~YUf-kYWd(s8uV%VUZ-R!t~W{^57q"
        "Lum!oOxo?jj%j$dqPupRK8<D+l>dEMxT2$o1%Voi%rVeeiREz=%i|eNkg8U~iOw2Amre?FDUXw7I~%76`8m~;`(2^%I4zzp<8+2I5_Mu"
        "K%ab;@lQ^?8-<>39k>Rr$&LP9G63(qu_!yi=DRMr;1^rjmh22#p$_f`zj4x)m#K)x~#+P;Aa*9{2R!8x=f?*-W>q>^JdWx%ew1obr+!k"
        "GovTe#Fde4$GVYyr_n7^ioYt=+OWlPS`<vv_z<qC37gD6zGN<3c})x*2vdbQ7I3ZmYe<+_nh8J>b05`*O3!CP!S@Q)iyxQXFrp+ylb(u"
        "7;ocpnS7f)MuRX1e(n^$~fq;M<|oTLmlYMS7lp)xX<_vfCN%DB(_q#U(6ZxXW4O+#1qqm=^A)HTN*wTf%(|_m}Vh!-IAcx`cWyE#V=Ch"
        "lBc&Ig3aBgIXmZG)(131)+}>@wiM3B2C=qctVcC1LH~0%u@{Ov;h>urx>257(T=BZ2vK&%b)%VrUh*ny61$a=ZknDta_Q(FILj;B}%`S"
        "8D0s~?^S2~iuXozMc!T`PF`nt!^fLuU^HWRt$3?q^ldWw4#T^l(f6F`y;Jpl+W!H=hdw?s9U(a%OCte;pZw3kwjUc3_^CM7XPzWzfL2c"
        "gea`R&5%eX)S3bUO!Z)f@c0@&gt2*6<{2gIi#_&C1t1saPS;#-CLD41glf;rXOgoLAWj`kr$i^?S!d?6-7iL@Wo2>FS$9D0%?6wL$!5?"
        "x<5WhcVzs<>}ZTuyK;cwHCda#^vBGu_%jkw{q*b1X}ph-L`78iMyc&oyIH0t>V_jycAX%XpMWKfP*(>NB6?HsS6aWr4%wW7m#op{@2K0"
        "prY#XI=x6m)WhM)jfU$=_5yurj4*Y~P@HK1fV8@xk;#p3?WZ$A?ICtI(t@gyyu-;_+4G>}oVSf|jP!*)~s4=5yj_Ovtt_3HJC<v0#A+V"
        "#7ZI*08S"
    ),
    5: (
        "c-oy-O^@3|7>*NXv)Ns?l&WQc73J3D5(xnn2c&kJ6;f+zq$0#=H5xmUj1|W=_Lyv>t|*7yHgr%A9V&#xf8YxLf*-*TfD<=(X6$U7WLK5"
        "yD4y4zdB2`{-go?{`O~xYnz`iVghoA@b^JJGoqkG3Ov&~E74$PBKUeR6ua4E8w8?0YD*0}8c@PPfMl{SiBO1{GOEV?6?u4;Fyk9&+eNS"
        "F1RY(|k*<44-OC*nyz#oQ;cv=ao<<%%3C6mJZC=W$I)09qNmZZ#&qfDf^FZ9BuS*T<Sw#|~~%Bh{GuH~u6>VevGET`@?P8Gi-n>{f}bS"
        "kp`#V2a|q?m6=>!EU8_uhZF%+0wals7#@$QD%+hNR`=e}w-;xeSwX-OB?66(Ra&76v{uZsEz&MxDC8^G*3iB@2iw4Pa=K^wW6c<^6sE%"
        "!{2`_4@Z#Dcmlfzf*ii*82+)f4UTL4M8DO<SDJL659I>o%doqyfb%Zm1Dge8|7%61r=xf!;4(;o28?MW3M`DoH??LP49z>&E1#Uw4LS>"
        "m{%6~V>TP`?-G(sj^+$<5BBxU9qJERPw(|^m8peRr$+@7!H7ZswS!XLFWGbN`r6;NYkVT=`*S4h6(mp(-8wjc(D4)M6v%sgn_t!p<X2|"
        "=D-wGpW7977>xbVz{^hT$wc5j@U;p{)S_$hTJ*^9}2|BTFlq=VWPkqi%rP9u$K!D~jm*tNU(+!}xwzNlIFBWkLjSn~mF^Eb-P_<imszM"
        "{*s;Zj0%F02>*DG2FWyzJ@V`FAsuiIJdAw6~kBOcArc{WJI#^kPk2W38$&6#X^5cZF%RiNv5c&8}b9EI?$GPP<)x`Da*sgAo9r#+T}8P"
        "nXWvJ^BenEx`CHcm>89;*V_HK(;i)a&QKiiQ<L1A?b`421Ue_@#L_<6VhRn<SK!&2BT97=;cPujDpbUnXFa%o^Pu|4nXdfJr}22@M09X"
        "~u7bG#xNfxKt-Pv<8|}4Zyh2XeSeL)_q>QS6jR;><iis|KkiW>iOmsJ5;VP5(ro{So!wF03fL%?FC}UmQD;O1*9@(m3g^_x8<xa!F!%{"
        "eVXWVMsD3Lq$O0Fq@c_>4bWO?fVbzH48;-6hH8Z>pU>Cu90`<X3;$DYAcC78Rnp5$9_voKnuk!>4gQq>i0JsURVug7s9X<vFdtHnp&*+"
        "{st+4!MX2t0h)N%G2H75>elT6~t2yRz$PE4Y&js`O)5V&d)mus<4g1CeJywbgdN|qyO$81%X=8s9&`1jmf@N$nQ&KiTuJ~Bc2+uwo$cP"
        "DQAV1Vm34u?7W6h9$NC!rIlZIhD&PXp$aDJjI5R+o2o&c}T|MWvJzW"
    ),
}


def written(path: Path, content: Any, protocol: int = 5) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        FRAME,
        FRAME.set_index(["id", "n"]),
        FRAME.sample(2, random_state=0),
        FRAME["label"],
        {"a": [1, (2.5, None), {3, frozenset({4})}], "b": b"\x00\xff", "c": datetime.date(2020, 1, 2)},
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.array(["ab", None], dtype=object),
        np.array(["2020-01-01"], dtype="datetime64[D]"),
        [np.float32(1.5), np.str_("ab"), np.bool_(True)],
    ],
    ids=lambda value: type(value).__name__,
)
def test_data_comes_back_as_it_was(tmp_path: Path, value: Any, protocol: int) -> None:
    read = load_pickle(written(tmp_path / "a.pkl", value, protocol))
    if isinstance(value, pd.DataFrame):
        pd.testing.assert_frame_equal(read, value)
    elif isinstance(value, pd.Series):
        pd.testing.assert_series_equal(read, value)
    elif isinstance(value, np.ndarray):
        assert read.dtype == value.dtype
        np.testing.assert_array_equal(read, value)
    else:
        assert read == value


@pytest.mark.parametrize("protocol", OLD)
def test_pickles_of_pandas_2_and_numpy_1_are_read(tmp_path: Path, protocol: int) -> None:
    content = zlib.decompress(base64.b85decode(OLD[protocol]))
    assert b"numpy.core" in content
    read = load_pickle(written(tmp_path / "a.pkl", content))
    assert list(read.columns) == ["id", "label", "price", "n", "ok", "when", "kind", "arrow", "whole"]
    assert read["arrow"].tolist() == ["a", "b", "c"]
    assert read["n"].tolist() == [1, 2, 3]
    assert read["kind"].tolist() == ["u", "v", "u"]
    assert read["when"].iloc[1] == pd.Timestamp("2021-01-01")
    assert read["whole"].isna().tolist() == [False, True, False]


TO_CSV = pd.DataFrame.to_csv


class Calls:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def stack_global(module: str, name: str, argument: str) -> bytes:
    """Protocol 4, the names from the stack, as no ordinary pickler writes them."""

    def text(value: str) -> bytes:
        return b"\x8c" + bytes([len(value)]) + value.encode()

    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text(argument) + b"\x85R."


HOSTILE = {
    "os.system": (pickle.dumps(Calls(os.system, "touch {mark}")), "system"),
    "os.system, protocol 0": (b"cos\nsystem\n(S'touch {mark}'\ntR.", "os.system"),
    "builtins.eval": (pickle.dumps(Calls(eval, "open('{mark}', 'w')")), "builtins.eval"),
    "builtins.exec in python 2's name": (b'c__builtin__\nexec\n(S\'open("{mark}", "w")\'\ntR.', "builtins.exec"),
    "builtins.getattr": (pickle.dumps(Calls(getattr, "a", "upper")), "builtins.getattr"),
    "pandas.read_pickle": (b"cpandas\nread_pickle\n(S'{mark}'\ntR.", "pandas.read_pickle"),
    "pandas.eval": (stack_global("pandas", "eval", "1+1"), "pandas.eval"),
    "numpy.load": (b"cnumpy\nload\n(S'{mark}'\ntR.", "numpy.load"),
    "nested": (pickle.dumps({"a": [1, (2, Calls(os.system, "touch {mark}"))]}), "system"),
    "operator.attrgetter": (stack_global("operator", "attrgetter", "system"), "operator.attrgetter"),
    "from the stack": (stack_global("os", "system", "touch {mark}"), "os.system"),
    "a dotted name": (stack_global("pandas", "DataFrame.to_csv", "{mark}"), "pandas.DataFrame.to_csv"),
    "a dotted way out": (stack_global("pandas", "io.common.os.system", "touch {mark}"), "io.common.os.system"),
    "a dotted module": (stack_global("pandas.core.frame.DataFrame", "eval", "1"), "pandas.core.frame.DataFrame.eval"),
    "a module's own import": (stack_global("pandas.core.frame", "np", "x"), "pandas.core.frame.np"),
    "subprocess by inst": (b"(S'touch {mark}'\nisubprocess\nPopen\n.", "subprocess.Popen"),
    "newobj": (b"\x80\x02csubprocess\nPopen\n(S'touch {mark}'\nt\x81.", "subprocess.Popen"),
    "functools.partial": (stack_global("functools", "partial", "x"), "functools.partial"),
    "an extension code": (b"\x80\x02\x82\x01.", "cannot be read"),
    "a codec": (b"c_codecs\nencode\n(S'touch'\nS'zlib'\ntR.", "codec 'zlib'"),
    "a reduced base": (b"ccopy_reg\n_reconstructor\n(c__builtin__\nint\nc__builtin__\nint\nI5\ntR.", "_reconstructor"),
    "a class changed": (b"\x80\x02cpandas\nDataFrame\nN}X\x06\x00\x00\x00to_csvK\x01s\x86b.", "a change of DataFrame"),
    "a function changed": (b"\x80\x02c_codecs\nencode\n}X\x01\x00\x00\x00aK\x01sb.", "a change of"),
}


@pytest.mark.parametrize(("content", "named"), HOSTILE.values(), ids=HOSTILE)
def test_anything_else_is_refused_by_name(tmp_path: Path, content: bytes, named: str) -> None:
    mark = tmp_path / "mark"
    # The placeholder has six characters; a link of six keeps every length in the pickle true.
    path = written(tmp_path / "a.pkl", content.replace(b"{mark}", b"./mark"))
    former = Path.cwd()
    os.chdir(tmp_path)
    try:
        with pytest.raises(InputError) as raised:
            load_pickle(path)
    finally:
        os.chdir(former)
    assert named in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not mark.exists()
    assert pd.DataFrame.to_csv is TO_CSV


def test_the_hostile_pickles_would_work_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("os.system", "os.system, protocol 0", "from the stack", "nested"):
        pickle.loads(HOSTILE[name][0].replace(b"{mark}", b"./mark"))
        assert (tmp_path / "mark").exists(), name
        (tmp_path / "mark").unlink()


def numpy_state(dtype: bytes, state: bytes, shape: int, data: bytes) -> bytes:
    """What is said of an array of one dimension, its parts free to lie."""
    kind = b"cnumpy\ndtype\n" + dtype + b"K\x00K\x01\x87R(" + state + b"tb"
    return b"(K\x01K" + bytes([shape]) + b"\x85" + kind + b"\x89" + data + b"tb"


def numpy_array(dtype: bytes, state: bytes, shape: int, data: bytes) -> bytes:
    """A protocol-2 pickle of an array."""
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return b"\x80\x02" + empty + numpy_state(dtype, state, shape, data) + b"."


PLAIN_STATE = b"K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00"
POINTER = b"C\x08" + struct.pack("<Q", 0x4141414141414141)


@pytest.mark.parametrize(
    "content",
    [
        numpy_array(b"U\x02O8", PLAIN_STATE, 1, POINTER),
        numpy_array(b"U\x02i8", PLAIN_STATE, 9, POINTER),
        numpy_array(b"U\x02S8", PLAIN_STATE.replace(b"J\xff\xff\xff\xffJ", b"K\x63J"), 2, POINTER),
        numpy_array(b"U\x05i8,O8", PLAIN_STATE, 1, POINTER),
        numpy_array(b"U\x02i8", PLAIN_STATE.replace(b"U\x01|", b"U\x01>"), 1, POINTER),
        numpy_array(b"U\x02i8", PLAIN_STATE, 1, POINTER)[:-1]
        + numpy_state(b"U\x02i8", PLAIN_STATE, 0, b"C\x00")
        + b".",
        b"\x80\x02cnumpy\nndarray\nK\x08\x85R.",
    ],
    ids=["objects that are bytes", "too short", "grown", "structured", "byte order", "built twice", "an array class"],
)
def test_arrays_that_lie_about_themselves_are_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match=r"cannot be read|refused"):
        load_pickle(written(tmp_path / "a.pkl", content))


def test_an_honest_array_of_that_making_is_read(tmp_path: Path) -> None:
    content = numpy_array(b"U\x02i8", PLAIN_STATE, 1, POINTER)
    assert load_pickle(written(tmp_path / "a.pkl", content)).tolist() == [0x4141414141414141]


def test_an_arrow_array_longer_than_its_buffer_is_refused(tmp_path: Path) -> None:
    content = pickle.dumps(FRAME["arrow"])
    offsets = struct.pack("<4q", 0, 1, 2, 3)
    assert offsets in content
    with pytest.raises(InputError, match="cannot be read"):
        load_pickle(written(tmp_path / "a.pkl", content.replace(offsets, struct.pack("<4q", 0, 1, 2, 2**40))))


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(FRAME)[:-40], b"\x80\x05.", b"0."])
def test_a_torn_pickle_is_an_input_error(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        load_pickle(written(tmp_path / "a.pkl", content))


def test_a_missing_pickle_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_pickle(tmp_path / "a.pkl")
