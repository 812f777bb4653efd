from math import *
import numpy as np
# HW4!!  sorry for the mess
#lr=0.1
#lr=0.01
lr=0.03
nh=6

def mk(nin,nout):
    # [hidden weights, output weights], the last column is for the bias
    return [np.random.randn(nh,nin)*.7, np.random.randn(nh)*.1, np.random.randn(nout,nh)*.7, np.random.randn(nout)*.1]

def fw(ws,x):
    u=np.dot(ws[0],x)+ws[1]
    h=1/(1+np.exp(-u))
    o=np.dot(ws[2],h)+ws[3]
    return h,o

def err(ws,xs,ts):
    tot=0
    for x,t in zip(xs,ts):
        h,o=fw(ws,x)
        for k in range(len(o)):
            tot+=(o[k]-t[k])**2
    return tot/len(xs)

def gr(ws,xs,ts):
    acc=[np.zeros_like(w) for w in ws]
    for n in range(len(xs)):
        x=xs[n]; t=ts[n]
        h,o=fw(ws,x)
        eo=2*(o-t)
        eh=np.zeros(nh)
        for j in range(nh):
            s=0
            for k in range(len(eo)):
                s+=eo[k]*ws[2][k,j]
            eh[j]=s*h[j]*(1-h[j])
        #print(eh)
        acc[0]+=np.outer(eh,x)
        acc[1]+=eh
        acc[2]+=np.outer(eo,h)
        acc[3]+=eo
    return [a/len(xs) for a in acc]

def go(ws,xs,ts,its=1000):
    for q in range(its):
        g=gr(ws,xs,ts)
        for i in range(4): ws[i]=ws[i]-lr*g[i]
        if q%100==0: print(q,err(ws,xs,ts))
    return ws

# old version, not used
def err_old(o,t):
    return sqrt(sum((o-t)**2))

if __name__=='__main__':
    d=np.loadtxt('boston.txt')
    xs=d[:,:-1]; ts=d[:,-1:]
    xs=(xs-xs.mean(0))/xs.std(0)
    ws=go(mk(xs.shape[1],1),xs,ts)
